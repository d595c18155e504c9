import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { checkDatabase, closeDatabase, parseToken } from '#database'
import type { Reservation } from '#stock/schema'
import { call, expectConsistent, functionNamed, newProduct, sql } from '#testing'
import { type Answer, type Client, createClient, type Write } from './client.ts'
import { type Fleet, startFleet } from './fleet.ts'
import { type Pair, startPair } from './replica-fixture.ts'

// The primary is killed under load and the replica promoted. Nobody tells the functions: DATABASE_URL names both servers.

const CLIENTS = 24
const STOCK = 1_000_000
/** What the service promises: from the promotion to the first write that is done again. */
const FIND_MAX_MS = 10_000

let client: Client
beforeAll(() => {
  client = createClient(CLIENTS)
})
afterAll(() => client.close())

interface Sent {
  write: Write & { key: string }
  answer: Answer | undefined
}

/** Clients that reserve one piece after the other, each with a key of its own, until they are told to stop. */
function startLoad(fleet: Fleet, productId: string) {
  const sent: Sent[] = []
  let isOver = false
  const run = async (name: string) => {
    for (let index = 0; !isOver; index++) {
      const key = `${name}-${index}`
      const write = { path: '/v1/reservations', body: { lines: [{ productId, quantity: 1 }], reference: key }, key }
      const answer = await client.send(fleet.of('reserve-stock')[0]?.url() ?? '', write)
      sent.push({ write, answer })
      // A client that is told to come again does not come at once.
      if (answer?.status !== 201) await sleep(20)
    }
  }
  const running = Promise.all(Array.from({ length: CLIENTS }, (_, index) => run(`client-${index}`)))
  const done = () => sent.filter(({ answer }) => answer?.status === 201)
  return {
    sent,
    done,
    /** Resolves once this many more have been done. */
    more: async (count: number, timeout: number) => {
      const wanted = done().length + count
      await vi.waitFor(() => expect(done().length).toBeGreaterThanOrEqual(wanted), { timeout, interval: 5 })
    },
    stop: async () => {
      isOver = true
      await running
    },
  }
}

const offsetOf = (lsn: string) => {
  const [high = '', low = ''] = lsn.split('/')
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`)
}

/** Makes the primary wait for its replica. Not by a setting of both: the promoted one would wait for a replica that it has not got. */
async function waitForReplica(): Promise<void> {
  await sql.unsafe("alter system set synchronous_standby_names = '*'")
  await sql`select pg_reload_conf()`
}

/** Kills the primary, and promotes the replica once it has noticed. Gives how far the replica had received the log. */
async function failOver({ cluster, onReplica }: Pair): Promise<string> {
  process.kill(cluster.pids().primary ?? 0, 'SIGKILL')
  return onReplica(async (replica) => {
    await vi.waitFor(async () => expect(await replica`select 1 from pg_stat_wal_receiver`).toEqual([]), {
      timeout: 4_000,
      interval: 5,
    })
    const [row] = await replica<[{ lsn: string }]>`select pg_last_wal_receive_lsn()::text as lsn`
    await replica`select pg_promote()`
    return row.lsn
  })
}

async function existing(ids: string[]): Promise<Set<string>> {
  const rows = await sql<Array<{ id: string }>>`select id from reservations where id = any(${ids}::uuid[])`
  return new Set(rows.map(({ id }) => id))
}

const idOf = ({ answer }: Sent) => (JSON.parse(answer?.text ?? '{}') as Reservation).id

describe.each([
  { mode: 'asynchronous replication', wait: undefined },
  { mode: 'commits that wait for the replica', wait: 'remote_apply' },
])('when the primary dies under load and the replica is promoted, with $mode', ({ wait }) => {
  let pair: Pair
  let fleet: Fleet

  beforeAll(async () => {
    pair = await startPair({ fsync: true })
    if (wait) await waitForReplica()
    const { primaryUrl, replicaUrl } = pair
    const both = primaryUrl.replace(new URL(primaryUrl).host, `${new URL(primaryUrl).host},${new URL(replicaUrl).host}`)
    overrideEnvironment({ DATABASE_URL: both })
    fleet = await startFleet(['reserve-stock', 'reserve-stock'], {
      DATABASE_REPLICA_URL: replicaUrl,
      ...(wait && { DATABASE_SYNCHRONOUS_COMMIT: wait }),
    })
  }, 120_000)

  afterAll(async () => {
    await fleet?.stop()
    await pair?.stop()
  })

  afterEach(expectConsistent)

  it('the functions find it by themselves, and nothing that it had received is lost', async () => {
    const { id: productId } = await newProduct({ initialStock: STOCK })
    const load = startLoad(fleet, productId)
    await load.more(500, 20_000)
    const received = await failOver(pair)
    const promotedAt = performance.now()
    await load.more(1, FIND_MAX_MS)
    const foundAfterMs = performance.now() - promotedAt
    await load.more(500, 20_000)
    await load.stop()
    // This process comes back to the servers as a stranger, too.
    await closeDatabase()
    await vi.waitFor(async () => expect(await checkDatabase()).toEqual({}), { timeout: FIND_MAX_MS, interval: 50 })

    const answers = new Set(
      load.sent.map(({ answer }) => (answer ? `${answer.status} ${answer.code ?? ''}`.trim() : 'none')),
    )
    expect([...answers].sort()).toEqual(['201', '503 unavailable'])

    const there = await existing(load.done().map(idOf))
    const lost = load.done().filter((each) => !there.has(idOf(each)))
    for (const { answer } of lost) {
      const { timeline, lsn } = parseToken(answer?.token ?? '')
      expect({ timeline, isPast: offsetOf(lsn) > offsetOf(received) }).toEqual({ timeline: 1, isPast: true })
    }
    if (wait) expect(lost).toEqual([])
    process.stdout.write(
      `fail-over (${wait ?? 'asynchronous'}): found after ${foundAfterMs.toFixed(0)} ms, ` +
        `${load.done().length} done, ${lost.length} of them lost with the primary\n`,
    )

    // Whoever asks again with the key of what was not answered, or was lost, gets it done: once.
    const again = load.sent.filter((each) => each.answer?.status !== 201 || lost.includes(each))
    for (const { write } of again) {
      const answer = await client.sendUntilAnswered(() => fleet.of('reserve-stock')[1]?.url() ?? '', write)
      expect(answer.status).toBe(201)
    }
    const [counted] = await sql<[{ holds: number; references: number }]>`
      select count(*) as holds, count(distinct reference) as references from reservations`
    expect(counted).toEqual({ holds: load.sent.length, references: load.sent.length })
    const audit = await call(await functionNamed('audit-stock'))
    expect(audit.body).toMatchObject({ consistent: true, discrepancies: [] })
  }, 120_000)
})
