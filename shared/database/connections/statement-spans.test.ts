import { describe, expect, it } from 'vitest'
import { summaryOf } from './statement-spans.ts'

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
