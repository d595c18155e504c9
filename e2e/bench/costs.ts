import { readdirSync, readFileSync } from 'node:fs'
import type { BenchDatabase } from './bench-cluster.ts'

/** The costs of one operation, without the client: over the whole load, including the warm-up. */
export interface Costs {
  /** The CPU time of the service's processes, and of all of PostgreSQL's processes. */
  serviceMicroseconds: number
  databaseMicroseconds: number
  walBytes: number
  commitsPerSecond: number
}

/** Runs a load, and returns its result with the costs of each operation. The costs are undefined if there is no `/proc`. */
export async function withCosts<Result>(
  { sql }: BenchDatabase,
  servicePids: readonly number[],
  work: () => Promise<Result>,
  operationsOf: (result: Result) => number,
): Promise<{ result: Result; costs: Costs | undefined }> {
  if (process.platform !== 'linux') return { result: await work(), costs: undefined }
  const [{ pid }] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`
  const postmaster = statOf(pid)?.parent ?? 0
  const read = async () => {
    const [{ wal, commits }] = await sql<[{ wal: string; commits: string }]>`
      select (select wal_bytes from pg_stat_wal)::text as wal,
             (select xact_commit from pg_stat_database where datname = current_database())::text as commits`
    const service = servicePids.reduce((sum, each) => sum + (statOf(each)?.ticks ?? 0), 0)
    return {
      at: performance.now(),
      service,
      database: ticksOfFamily(postmaster),
      wal: Number(wal),
      commits: Number(commits),
    }
  }
  const before = await read()
  const result = await work()
  // The server's statistics lag behind by at most a second.
  await sql`select pg_stat_force_next_flush()`
  const after = await read()
  const operations = Math.max(1, operationsOf(result))
  const costs = {
    serviceMicroseconds: ((after.service - before.service) * TICK_MICROSECONDS) / operations,
    databaseMicroseconds: ((after.database - before.database) * TICK_MICROSECONDS) / operations,
    walBytes: (after.wal - before.wal) / operations,
    commitsPerSecond: ((after.commits - before.commits) * 1_000) / (after.at - before.at),
  }
  return { result, costs }
}

/** The length of a tick in `/proc`: there are 100 a second on every Linux that Node runs on. */
const TICK_MICROSECONDS = 10_000

/** Returns a process's parent and its CPU time. `allTicks` includes its ended children. Undefined if the process has ended. */
function statOf(pid: number): { parent: number; ticks: number; allTicks: number } | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The second field is the name in parentheses. After its last ')' come the state, the parent, …
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const number = (at: number) => Number(fields[at])
  const ticks = number(11) + number(12)
  return { parent: number(1), ticks, allTicks: ticks + number(13) + number(14) }
}

/** Returns the CPU time of a process and of all its children, including those that have ended. */
function ticksOfFamily(parent: number): number {
  const children = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? (statOf(Number(name)) ?? []) : []))
  const living = children.filter((child) => child.parent === parent)
  return living.reduce((sum, { allTicks }) => sum + allTicks, statOf(parent)?.allTicks ?? 0)
}
