import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ensureBootstrapKey } from '#access'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { ADMIN_KEY, call, expectConsistent, functionNamed, newProduct } from '#testing'
import { ensurePatroni } from '../../../infra/local/engines/patroni.ts'
import { type Client, createClient } from '../client.ts'
import { type Fleet, startFleet } from '../fleet.ts'
import { type PatroniCluster, startPatroni } from './patroni-fixture.ts'
import { existing, idOf, startLoad, timelineOf } from './reserve-load.ts'

// Three servers under Patroni lose their leader again and again. Nobody intervenes, and the URL stays the same.

const CLIENTS = 12
const STOCK = 1_000_000
const WRITES = 100
/** How often the leader is lost. PATRONI_KILLS changes it. */
const KILLS = Number(environment().PATRONI_KILLS ?? 2)
/** The promised time from the loss of the leader to the first write that succeeds again. Most of it is the 20 s that the leader's lock lasts. */
const SERVED_MAX_MS = 40_000
/** A returning member is rewound, and then follows. */
const ROUND_MAX_MS = 180_000

vi.setConfig({ testTimeout: KILLS * ROUND_MAX_MS, hookTimeout: 600_000 })

const programs = await ensurePatroni((line) => process.stdout.write(`patroni: ${line}\n`)).catch((error: Error) => {
  if (environment().CI) throw error
  process.stdout.write(`skipped: ${error.message}\n`)
  return undefined
})

describe.skipIf(programs === undefined)('under Patroni', () => {
  const { DATABASE_URL: home, DATABASE_REPLICA_URL: homeReplica } = environment()
  let cluster: PatroniCluster
  let client: Client
  let fleet: Fleet

  beforeAll(async () => {
    if (!programs) return
    client = createClient(CLIENTS)
    cluster = await startPatroni(programs)
    await closeDatabase()
    await cluster.onLeader((sql) => sql`create database stock`)
    const url = cluster.url('stock')
    overrideEnvironment({ DATABASE_URL: url, DATABASE_REPLICA_URL: url })
    await migrate()
    await ensureBootstrapKey(ADMIN_KEY)
    fleet = await startFleet(['reserve-stock'], { DATABASE_REPLICA_URL: url })
  })

  afterAll(async () => {
    await fleet?.stop()
    await closeDatabase()
    overrideEnvironment({ DATABASE_URL: home, DATABASE_REPLICA_URL: homeReplica })
    await cluster?.stop()
    await client?.close()
  })

  it(`the service goes on by itself, ${KILLS} times, and loses nothing that was acknowledged`, async () => {
    const { id: productId } = await newProduct({ initialStock: STOCK })
    const load = startLoad(client, CLIENTS, fleet, productId)
    const gaps: number[] = []
    for (let kill = 0; kill < KILLS; kill++) {
      await load.more(WRITES, 20_000)
      const timeline = Math.max(...load.done().map(timelineOf))
      const killed = await cluster.killLeader()
      const killedAt = performance.now()
      const isServed = () => expect(load.done().some((each) => timelineOf(each) > timeline)).toBe(true)
      await vi.waitFor(isServed, { timeout: SERVED_MAX_MS, interval: 50 })
      gaps.push(performance.now() - killedAt)
      await cluster.startAgain(killed)
    }
    await load.more(WRITES, 20_000)
    await load.stop()
    const answers = new Set(
      load.sent.map(({ answer }) => (answer ? `${answer.status} ${answer.code ?? ''}`.trim() : 'none')),
    )
    const there = await existing(load.done().map(idOf))
    const lost = load.done().filter((each) => !there.has(idOf(each)))
    const seconds = gaps.map((gap) => (gap / 1_000).toFixed(1)).join(', ')
    process.stdout.write(
      `patroni: served again after ${seconds} s; ${load.done().length} done, ${lost.length} of them lost\n`,
    )
    expect([...answers].sort()).toEqual(['201', '503 unavailable'])
    expect(lost).toEqual([])
    expect(await call(await functionNamed('audit-stock'))).toMatchObject({
      body: { consistent: true, discrepancies: [] },
    })
    await expectConsistent()
  })
})
