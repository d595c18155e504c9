import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { closeDatabase, isPaused } from '#database'
import { call, functionNamed, hold, newProduct, sql } from '#testing'
import { bundleOf } from '#testing/builds'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import { type Pair, startPair, urlOfBoth } from './replica-fixture.ts'

// Commits are acknowledged, and their events published, but the replica never receives them. Then it is promoted. Clients have seen these
// commits and remember them for ever: docs/decisions/0029. The tests are steps of one scenario.

let pair: Pair
let both: string
let productId: string
let quiet: string
let held: string
/** The versions of the product's events that readers have seen. */
let seen: number[]

beforeAll(async () => {
  pair = await startPair()
  both = urlOfBoth(pair.primaryUrl, pair.replicaUrl)
  overrideEnvironment({ DATABASE_URL: both, DATABASE_REPLICA_URL: undefined })
  await closeDatabase()
}, 120_000)
afterAll(() => pair?.stop())

const onPrimary = <Result>(work: Parameters<typeof withConnection<Result>>[1]) => withConnection(pair.primaryUrl, work)
const versionsOf = async (id: string) => {
  const rows = await sql<Array<{ version: string }>>`
    select version::text from outbox where product_id = ${id} order by sequence`
  return rows.map(({ version }) => Number(version))
}
const editionOf = async () => {
  const [row] = await sql<[{ version: number }]>`select version from products where id = ${productId}`
  return row.version
}
const confirm = async () => call(await functionNamed('confirm-reservation'), { params: { reservationId: held } })
const reserve = async () => {
  const answer = await call(await functionNamed('reserve-stock'), { body: { lines: [{ productId, quantity: 1 }] } })
  expect(answer.status).toBe(201)
}

const expectBalanced = async () =>
  expect((await call(await functionNamed('audit-stock'))).body).toMatchObject({ consistent: true, discrepancies: [] })

/** Stops the primary from sending anything to the replica, without either of them noticing. */
async function cutOff(): Promise<void> {
  const [row] = await onPrimary((primary) => primary<[{ pid: number }]>`select pid from pg_stat_replication`)
  process.kill(row.pid, 'SIGSTOP')
}

it('acknowledges, and publishes, what the replica never receives', async () => {
  productId = (await newProduct({ initialStock: 9 })).id
  quiet = (await newProduct({ initialStock: 9 })).id
  held = (await hold([{ productId, quantity: 2 }])).id
  const [{ lsn }] = await onPrimary((primary) => primary<[{ lsn: string }]>`select pg_current_wal_lsn()::text as lsn`)
  await vi.waitFor(async () => {
    const [row] = await pair.onReplica(
      (replica) => replica<[{ has: boolean }]>`select pg_last_wal_replay_lsn() >= ${lsn}::pg_lsn as has`,
    )
    expect(row.has).toBe(true)
  })
  await cutOff()
  expect((await confirm()).status).toBe(200)
  for (let count = 0; count < 3; count++) await reserve()
  seen = await versionsOf(productId)
})

it('gives a version a second time after a promotion, with another content', async () => {
  pair.signalPrimary('SIGKILL')
  await pair.onReplica((replica) => replica`select pg_promote()`)
  await closeDatabase()
  await vi.waitFor(reserve, { timeout: 20_000, interval: 100 })
  const again = (await versionsOf(productId)).at(-1) ?? 0
  expect(seen).toContain(again)
  expect(again).toBeLessThan(Math.max(...seen))
})

it('is settled while it serves: each product is published with a version that no reader has seen, and its entity tag with it', async () => {
  const edition = await editionOf()
  const env = { PATH: process.env.PATH, DATABASE_URL: both }
  const promoted = await bundleOf(new URL('../../../infra/backup/restore/promoted.ts', import.meta.url))
  const settling = promisify(execFile)(process.execPath, [promoted], { env, timeout: 60_000 })
  await Promise.all([settling, reserve(), reserve()])
  expect((await settling).stdout).toContain('the promotion is settled')
  const [announced] = await sql<[{ version: string; data: { stock: object } }]>`
    select version::text, data from outbox where product_id = ${productId} and type = 'product.updated' order by sequence desc limit 1`
  expect(Number(announced.version)).toBeGreaterThan(Math.max(...seen))
  expect(await editionOf()).toBeGreaterThan(edition)
  // This product lost nothing, and would otherwise have had no event for a long time.
  expect((await versionsOf(quiet)).at(-1)).toBeGreaterThan(2)
  await reserve()
  expect((await versionsOf(productId)).at(-1)).toBeGreaterThan(Number(announced.version))
  expect(await isPaused()).toBe(false)
})

it('keeps the hold whose confirmation was lost until its shop confirms it again', async () => {
  const [row] = await sql<[{ hours: number; lines: number }]>`
    select extract(epoch from expires_at - now())::float8 / 3600 as hours,
           (select count(*)::int from reservation_lines where reservation_id = ${held} and held_until = expires_at) as lines
    from reservations where id = ${held}`
  expect(row.hours).toBeGreaterThan(23)
  expect(row.lines).toBe(1)
  expect((await confirm()).status).toBe(200)
  await expectBalanced()
})

it('is settled again without harm', async () => {
  const before = Math.max(...(await versionsOf(productId)))
  const env = { PATH: process.env.PATH, DATABASE_URL: both }
  const promoted = await bundleOf(new URL('../../../infra/backup/restore/promoted.ts', import.meta.url))
  await promisify(execFile)(process.execPath, [promoted], { env, timeout: 60_000 })
  expect(Math.max(...(await versionsOf(productId)))).toBeGreaterThan(before)
  await expectBalanced()
})
