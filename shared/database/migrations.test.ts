import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { environment } from '#config'
import { sql as ofTheFile } from '#testing'
import packageJson from '../../package.json' with { type: 'json' }
import { concurrentIndexIn } from './concurrent-index.ts'
import { connect, type Sql } from './connections/connect.ts'
import { effectsOf } from './testing/migration-effects.ts'

/** The last migration before the rule that this file checks for later ones: see docs/releasing.md. */
const LAST_BEFORE = '0027'
/** Tables with some hundreds of rows at most: reading or filling one takes a moment. */
const SMALL = ['event_groups', 'locations', 'restores', 'schema_migrations', 'webhooks']
const CONTRACT = /^\d{4}_contract_/
const UNUSED_SINCE = /^-- Unused since (\d+)\.(\d+)\.(\d+)[.:]/m

const folder = new URL('./migrations/', import.meta.url)
const files = readdirSync(folder).sort()
const textOf = (file: string) => readFileSync(new URL(file, folder), 'utf8')

/** One connection, to an empty database. */
let sql: Sql
const database = `migrations_${process.pid}`

beforeAll(async () => {
  await ofTheFile.unsafe(`create database ${database}`)
  const url = Object.assign(new URL(environment().DATABASE_URL ?? ''), { pathname: `/${database}` })
  sql = connect(url.href, { max: 1, holdsTransactions: true })
})
afterAll(async () => {
  await sql.end()
  await ofTheFile.unsafe(`drop database ${database} with (force)`)
})

/** Runs a migration as `migrate` does. */
async function apply(text: string): Promise<{ blocked: string[]; missed: string[] }> {
  if (concurrentIndexIn(text)) {
    await sql.unsafe(text)
    return { blocked: [], missed: [] }
  }
  await sql`begin`
  const { blocked, missed } = await effectsOf(sql, text)
  await sql`commit`
  return { blocked: blocked.filter((table) => !SMALL.includes(table)), missed }
}

it('no migration keeps writers waiting while it works through rows, or takes away what the version before uses', async () => {
  const unfit: unknown[] = []
  for (const file of files) {
    const { blocked, missed } = await apply(textOf(file))
    if (file.slice(0, 4) <= LAST_BEFORE) continue
    if (blocked.length > 0) unfit.push({ file, blocked })
    if (missed.length > 0 && !CONTRACT.test(file)) unfit.push({ file, missed })
  }
  expect(unfit).toEqual([])
})

it('what contracts says since which version nothing uses what it takes away, and that one is released', () => {
  const numberOf = (parts: string[]) => parts.reduce((number, part) => number * 1_000 + Number(part), 0)
  for (const file of files.filter((name) => CONTRACT.test(name))) {
    const [, ...since] = UNUSED_SINCE.exec(textOf(file)) ?? []
    expect({ file, since }).toEqual({ file, since: [expect.anything(), expect.anything(), expect.anything()] })
    expect(numberOf(packageJson.version.split('.')), file).toBeGreaterThanOrEqual(numberOf(since))
  }
})

describe('finds', () => {
  const none: string[] = []

  it.each([
    ['an index', 'create index on products (name)', ['products'], none],
    ['a type', 'alter table products alter column version type numeric', ['products'], ['products.version integer']],
    ['a check', 'alter table products add check (version > 0)', ['products'], none],
    [
      'a reference',
      'alter table stock_movements add foreign key (product_id) references products',
      ['stock_movements'],
      none,
    ],
    ['a default that differs by row', 'alter table jobs add column x uuid default gen_random_uuid()', ['jobs'], none],
    [
      'a column that is computed',
      `alter table jobs add column x text generated always as (type) stored`,
      ['jobs'],
      none,
    ],
    ['a null that is forbidden', 'alter table products alter column description set not null', ['products'], none],
    ['a fill', 'update products set description = name', ['products'], none],
    ['a lock and a read', 'lock table outbox in share mode; select count(*) from outbox', ['outbox'], none],
    ['a column that goes', 'alter table products drop column description', none, ['products.description text']],
    ['another name', 'alter table products rename description to details', none, ['products.description text']],
    ['a table that goes', 'drop table restores', none, [expect.stringContaining('restores')]],
    [
      'a column that is asked for',
      'alter table webhooks add column x text not null',
      none,
      ['webhooks.x text required'],
    ],
  ])('%s', async (_, migration, blocked, missed) => {
    await sql`begin`
    const found = await effectsOf(sql, migration)
    await sql`rollback`
    expect(found.blocked.filter((table) => !SMALL.includes(table))).toEqual(expect.arrayContaining(blocked))
    expect(found.missed).toEqual(expect.arrayContaining(missed))
  })

  it.each([
    ['a new table with its index', 'create table x (id int primary key, at timestamptz); create index on x (at)'],
    ['a column', 'alter table products add column x integer not null default 0'],
    ['a check that is not made yet', 'alter table products add check (version > 0) not valid'],
    [
      'a reference that is not checked yet',
      'alter table jobs add x uuid, add foreign key (x) references products not valid',
    ],
    ['statistics', 'create statistics x on name, sku from products'],
    ['a function', `create function x() returns int language sql as 'select 1'`],
  ])('nothing against %s', async (_, migration) => {
    await sql`begin`
    const found = await effectsOf(sql, migration)
    await sql`rollback`
    expect(found).toEqual({ blocked: [], missed: [] })
  })

  it('nothing against a check of what was added unchecked, in a migration of its own', async () => {
    await sql.unsafe('alter table products add constraint x check (version > 0) not valid')
    await sql`begin`
    const found = await effectsOf(sql, 'alter table products validate constraint x')
    await sql`rollback`
    expect(found).toEqual({ blocked: [], missed: [] })
  })
})
