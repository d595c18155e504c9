import { randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ensureBootstrapKey } from '#access'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { ADMIN_KEY, newProduct, sql } from '#testing'
import { freePort } from '../../../infra/local/ports.ts'
import { type Cluster, startCluster } from '../../../infra/local/postgres/cluster.ts'
import { type Client, createClient } from '../client.ts'
import { type Fleet, type Member, startFleet } from '../fleet.ts'
import { expectEffects, expectPlainAnswers, expectReplays } from './crash-checks.ts'
import { type Plan, type Played, PRODUCTS, planOf, play } from './crash-load.ts'

// Clients write through processes of the functions' bundles, and meanwhile something is killed. Requests without an answer are sent
// again with their key. In the end, exactly the effects in the answers must have happened, and nothing else.
//
// A cycle's seed is in its name. `CRASH_SEED=<seed> npx vitest run e2e/faults/processes/crash.test.ts` runs only that cycle: the same
// requests, the same victim, after the same number of answers. What each process is doing at that moment depends on the machine.

const VICTIMS = [
  'a process of reserve-stock',
  'a process of another function',
  'PostgreSQL',
  'one of its backends',
] as const
type Victim = (typeof VICTIMS)[number]
const CYCLES = 20
/** Less stock than is requested, so that some requests are refused. */
const STOCK = 40
/** Crash recovery takes a fraction of a second. */
const RECOVERY_MAX_MS = 20_000

const { CRASH_SEED } = environment()
const firstSeed = CRASH_SEED === undefined ? randomInt(1_000_000_000) : Number(CRASH_SEED)
const cycles = Array.from({ length: CRASH_SEED === undefined ? CYCLES : 1 }, (_, index) => {
  const seed = firstSeed + index
  return [VICTIMS[seed % VICTIMS.length] ?? VICTIMS[0], seed] as const
})

let dataDir: string
let port: number
let cluster: Cluster
let fleet: Fleet
let client: Client

// A separate cluster, since it is killed, and since the cluster that all tests share does not wait for the disk.
const start = () => startCluster({ dataDir, replica: false, fsync: true, ports: { primary: port } })

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'stock-crash-'))
  port = await freePort()
  cluster = await start()
  overrideEnvironment({ DATABASE_URL: cluster.primaryUrl })
  await closeDatabase()
  await migrate()
  await ensureBootstrapKey(ADMIN_KEY)
  fleet = await startFleet([
    'reserve-stock',
    'reserve-stock',
    'confirm-reservation',
    'release-reservation',
    'adjust-stock',
  ])
  client = createClient(16)
}, 120_000)

afterAll(async () => {
  await client?.close()
  await fleet?.stop()
  await closeDatabase()
  await cluster?.stop()
  await rm(dataDir, { recursive: true, force: true })
})

async function strike(victim: Victim, which: number): Promise<void> {
  switch (victim) {
    case 'a process of reserve-stock':
      return killMember(fleet.of('reserve-stock'), which)
    case 'a process of another function':
      return killMember(
        fleet.members.filter(({ name }) => name !== 'reserve-stock'),
        which,
      )
    case 'PostgreSQL': {
      const { primary } = cluster.pids()
      if (primary === null || !isKilled(primary)) throw new Error('there is nothing to kill')
      await cluster.stop()
      cluster = await start()
      return
    }
    case 'one of its backends':
      return killBackend(which)
  }
}

async function killMember(candidates: Member[], which: number): Promise<void> {
  const member = candidates[which % candidates.length]
  await member?.kill()
  await member?.restart()
}

/** Kills a backend. The postmaster then ends all others too, and recovers as after a crash. */
async function killBackend(which: number): Promise<void> {
  // The previous fault may have ended the connection of this query, and the postmaster's reaction to it all others.
  const rows = await vi.waitFor(
    () => sql<Array<{ pid: number; isBusy: boolean }>>`
      select pid, state <> 'idle' as "isBusy" from pg_stat_activity
      where backend_type = 'client backend' and pid <> pg_backend_pid() order by pid`,
    { timeout: RECOVERY_MAX_MS, interval: 20 },
  )
  const busy = rows.filter(({ isBusy }) => isBusy)
  const candidates = busy.length > 0 ? busy : rows
  const first = which % candidates.length
  // A backend that has ended since then counts as if it had never been there.
  if (![...candidates.slice(first), ...candidates.slice(0, first)].some(({ pid }) => isKilled(pid)))
    throw new Error('there is nothing to kill')
}

/** Kills a process. Returns false if it no longer exists. */
function isKilled(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

/** Runs the plan, and kills the victim as often as the plan says, each time after its number of answers. */
async function playAndStrike(plan: Plan, victim: Victim, productIds: string[], prefix: string): Promise<Played> {
  let answers = 0
  let isOver = false
  let onProgress = () => {}
  const progress = (change: () => void) => {
    change()
    onProgress()
  }
  const reached = (count: number) =>
    new Promise<void>((resolve) => {
      onProgress = () => (answers >= count || isOver) && resolve()
      onProgress()
    })
  const strikeAll = async () => {
    for (const { answersBefore, pauseMs, which } of plan.blows) {
      await reached(answersBefore)
      await sleep(pauseMs)
      await strike(victim, which)
    }
  }
  const load = { fleet, client, productIds, prefix }
  const playing = play(plan, load, () => progress(() => answers++)).finally(() =>
    progress(() => {
      isOver = true
    }),
  )
  const [played] = await Promise.all([playing, strikeAll()])
  return played
}

describe('nothing acknowledged is lost, and nothing happens twice', () => {
  it('on a server that waits for the disk', async () => {
    expect(
      await sql`select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit`,
    ).toEqual([{ fsync: 'on', commit: 'on' }])
  })

  it.each(cycles)('by kill -9 of %s (CRASH_SEED=%i)', async (victim, seed) => {
    const plan = planOf(seed)
    const products = await Promise.all(PRODUCTS.map(() => newProduct({ initialStock: STOCK })))
    const productIds = products.map(({ id }) => id)
    const { answered, disturbed } = await playAndStrike(plan, victim, productIds, String(seed))
    await vi.waitFor(() => sql`select 1`, { timeout: RECOVERY_MAX_MS, interval: 20 })
    expect(disturbed).toBeGreaterThan(0)
    expectPlainAnswers(answered)
    await expectReplays(answered, fleet, client)
    await expectEffects(answered, productIds, STOCK)
  })
})
