import { describe, expect, it } from 'vitest'
import { isOnly, summaryOf } from './statement-spans.ts'

describe('the summary of a statement', () => {
  it.each([
    ['select 1', 'SELECT'],
    ['select id, name from products where id = $1 for update', 'SELECT products'],
    ['with due as (select id from jobs limit 1) select count(*) from due', 'SELECT jobs'],
    ['select count(*) from unnest($1::text[]) as item', 'SELECT'],
    ['insert into outbox (id) select id from rows from (unnest($1::uuid[])) as event (id)', 'INSERT outbox'],
    [
      'with taken as (delete from outbox returning id) insert into event_log select id from taken',
      'DELETE outbox INSERT event_log',
    ],
    ['insert into jobs (id) values ($1) on conflict (id) do update set state = $2', 'INSERT jobs'],
    ['update jobs set state = $1 where id = $2', 'UPDATE jobs'],
    ['begin; set local lock_timeout = 1000', 'BEGIN'],
    ['commit', 'COMMIT'],
  ])('of %s is %s', (query, summary) => {
    expect(summaryOf(query)).toBe(summary)
  })
})

describe('a statement', () => {
  it.each([
    'select id from products where id = $1 for update',
    'insert into products (id) values ($1) on conflict (id) do update set name = $2 returning id',
    'update products set name = $1 where id = $2',
    'delete from products where id = $1',
  ])('of one table has its name: %s', (query) => {
    expect(isOnly('products', query)).toBe(true)
  })

  it.each([
    'select id from products join jobs using (id)',
    'select id from products p, jobs',
    'select id from products as p, jobs',
    'select id from products where id in (select id from jobs)',
    'select id from products($1)',
    'insert into products (id) select id from jobs',
    'with taken as (delete from products returning id) select id from taken',
    'update products set name = $1 from jobs',
    'delete from products using jobs',
  ])('of several has none: %s', (query) => {
    expect(isOnly('products', query)).toBe(false)
  })
})
