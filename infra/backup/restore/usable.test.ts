import { expect, it } from 'vitest'
import { environment } from '#config'
import { auditStock } from '#stock'
import { newProduct, sql } from '#testing'
import { compareMigrations, holdReservation, migrationsOf, newestWrite } from './usable.ts'

const release = ['0001_a.sql', '0002_b.sql']

it.each([
  ['as the release', release, undefined, [], []],
  ['lacks one, and nobody knows better', ['0001_a.sql'], undefined, ['the schema lacks 0002_b.sql'], []],
  ['lacks one that the server has', ['0001_a.sql'], release, ['the schema lacks 0002_b.sql'], []],
  [
    'lacks one that the server lacks',
    ['0001_a.sql'],
    ['0001_a.sql'],
    [],
    [expect.stringMatching(/^0002_b\.sql is not/)],
  ],
  ['newer', [...release, '0003_c.sql'], undefined, [], ['the schema has 0003_c.sql, of a newer release']],
])('a restored schema that is %s', (_what, restored, server, findings, notes) => {
  expect(compareMigrations(restored, release, server)).toEqual({ findings, notes })
})

it('migrations are known with how long they have been there', async () => {
  const all = await migrationsOf(sql)
  expect(all.length).toBeGreaterThan(20)
  expect(await migrationsOf(sql, 1)).toEqual([])
  await sql`update schema_migrations set applied_at = now() - interval '61 minutes' where name = ${all[0] ?? ''}`
  expect(await migrationsOf(sql, 1)).toEqual([all[0]])
})

it('a reservation is held, and is a write', async () => {
  expect(await newestWrite(sql)).toBe(null)
  await newProduct({ initialStock: 3 })
  await holdReservation(environment().DATABASE_URL ?? '')
  const [{ at }] = await sql<[{ at: Date }]>`select created_at as at from reservations where state = 'held'`
  expect(await newestWrite(sql)).toEqual(at)
  expect(await auditStock()).toMatchObject({ consistent: true, checkedProducts: 2 })
})

it('a write with an idempotency key is one, too', async () => {
  const at = new Date('2999-01-01T00:00:00Z')
  await sql`insert into idempotency_keys values (gen_random_uuid(), 'key', '', 'request', null, null, ${at})`
  expect(await newestWrite(sql)).toEqual(at)
})

it('a database that takes no reservation is told from one that does', async () => {
  await sql`alter table reservations add constraint closed check (false) not valid`
  await expect(holdReservation(environment().DATABASE_URL ?? '')).rejects.toThrow('closed')
  await sql`alter table reservations drop constraint closed`
})
