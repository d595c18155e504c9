import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { checkDatabase, closeDatabase, parseToken } from '#database'
import { call, expectConsistent, functionNamed, newProduct, sql } from '#testing'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import { type Client, createClient } from '../client.ts'
import { type Fleet, startFleet } from '../fleet.ts'
import { type Pair, startPair, urlOfBoth } from './replica-fixture.ts'
import { existing, idOf, startLoad, timelineOf } from './reserve-load.ts'

// The primary fails under load and the replica is promoted. Nobody tells the functions: DATABASE_URL names both servers.

const CLIENTS = 24
const STOCK = 1_000_000
/** The promised time from the promotion to the first write that succeeds again. */
const FIND_MAX_MS = 10_000

let client: Client
beforeAll(() => {
  client = createClient(CLIENTS)
})
afterAll(() => client.close())

const offsetOf = (lsn: string) => {
  const [high = '', low = ''] = lsn.split('/')
  return (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`)
}

/** Makes the primary wait for its replica. This is not a setting of both servers: the promoted one would wait for a replica that it lacks. */
async function waitForReplica(): Promise<void> {
  await sql.unsafe("alter system set synchronous_standby_names = '*'")
  await sql`select pg_reload_conf()`
}

/** Makes the primary fail, and promotes the replica, after it has noticed the failure if it can. Returns how far it had received the WAL. */
async function failOver({ signalPrimary, onReplica }: Pair, signal: 'SIGKILL' | 'SIGSTOP'): Promise<string> {
  signalPrimary(signal)
  return onReplica(async (replica) => {
    if (signal === 'SIGKILL') {
      await vi.waitFor(async () => expect(await replica`select 1 from pg_stat_wal_receiver`).toEqual([]), {
        timeout: 4_000,
        interval: 5,
      })
    }
    const [row] = await replica<[{ lsn: string }]>`select pg_last_wal_receive_lsn()::text as lsn`
    await replica`select pg_promote()`
    return row.lsn
  })
}

describe.each([
  { fault: 'dies', signal: 'SIGKILL', mode: 'asynchronous replication', wait: undefined },
  { fault: 'dies', signal: 'SIGKILL', mode: 'commits that wait for the replica', wait: 'remote_apply' },
  { fault: 'stands still', signal: 'SIGSTOP', mode: 'asynchronous replication', wait: undefined },
] as const)('when the primary $fault under load and the replica is promoted, with $mode', ({ signal, wait }) => {
  let pair: Pair
  let fleet: Fleet

  beforeAll(async () => {
    pair = await startPair({ fsync: true })
    if (wait) await waitForReplica()
    const { primaryUrl, replicaUrl } = pair
    // Without a replica to watch, a paused server causes no failure by itself.
    const replica = signal === 'SIGSTOP' ? undefined : replicaUrl
    overrideEnvironment({ DATABASE_URL: urlOfBoth(primaryUrl, replicaUrl), DATABASE_REPLICA_URL: replica })
    fleet = await startFleet(['reserve-stock', 'reserve-stock'], {
      ...(replica && { DATABASE_REPLICA_URL: replica }),
      ...(wait && { DATABASE_SYNCHRONOUS_COMMIT: wait }),
    })
  }, 120_000)

  afterAll(async () => {
    await fleet?.stop()
    pair?.signalPrimary('SIGCONT')
    await pair?.stop()
  })

  afterEach(expectConsistent)

  it('the functions find it by themselves, stay with it, and nothing that it had received is lost', async () => {
    const { id: productId } = await newProduct({ initialStock: STOCK })
    const load = startLoad(client, CLIENTS, fleet, productId)
    await load.more(500, 20_000)
    const received = await failOver(pair, signal)
    const promotedAt = performance.now()
    await load.more(1, FIND_MAX_MS)
    const foundAfterMs = performance.now() - promotedAt
    const before = { sent: load.sent.length + CLIENTS, done: load.done().length }
    // A paused server continues as the primary that it was.
    pair.signalPrimary('SIGCONT')
    await load.more(500, 20_000)
    await load.stop()
    // New clients of the servers are not misled either: another process, and this one.
    await fleet.of('reserve-stock')[1]?.kill()
    await fleet.of('reserve-stock')[1]?.restart()
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
    expect(new Set(load.done().slice(before.done).map(timelineOf))).toEqual(new Set([2]))
    if (signal === 'SIGSTOP') {
      const later = load.sent.slice(before.sent).map(({ write }) => write.key)
      const misled = withConnection(
        pair.primaryUrl,
        (old) => old`select reference from reservations where reference in ${old(later)}`,
      )
      expect(await misled).toEqual([])
    }
    process.stdout.write(
      `fail-over (${signal}, ${wait ?? 'asynchronous'}): found after ${foundAfterMs.toFixed(0)} ms, ` +
        `${load.done().length} done, ${lost.length} of them lost with the primary\n`,
    )

    // A client that repeats an unanswered or lost write with its key gets it done, once.
    const again = load.sent.filter((each) => each.answer?.status !== 201 || lost.includes(each))
    for (const { write } of again) {
      const answer = await client.sendUntilAnswered(() => fleet.of('reserve-stock')[1]?.url() ?? '', write)
      expect({ status: answer.status, timeline: timelineOf({ write, answer }) }).toEqual({ status: 201, timeline: 2 })
    }
    const [counted] = await sql<[{ holds: number; references: number }]>`
      select count(*) as holds, count(distinct reference) as references from reservations`
    expect(counted).toEqual({ holds: load.sent.length, references: load.sent.length })
    const audit = await call(await functionNamed('audit-stock'))
    expect(audit.body).toMatchObject({ consistent: true, discrepancies: [] })
  }, 120_000)
})
