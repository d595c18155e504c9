import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { bundleOf } from '#testing/builds'
import { type Cluster, type ClusterOptions, startCluster } from '../postgres/cluster.ts'
import { killServerProcesses } from '../postgres/leftovers.ts'
import { withConnection } from '../postgres/sql.ts'
import { waitUntil } from '../waits.ts'

/** A data folder for one test, and everything that is started on it. */
export interface Ground {
  dataDir: string
  /** Progress lines so far. */
  lines: string[]
  start(options?: Partial<ClusterOptions>): Promise<Cluster>
  /** Runs a cluster in a separate process and kills that process at the progress line that begins with `killAt`. Default: when it is up. */
  startAndKillOwner(killAt?: string): Promise<void>
  clear(): Promise<void>
}

/** With `template`, the data folder of a stopped cluster, the new folder begins as its copy. That saves the second that initdb takes. */
export async function createGround(template?: string): Promise<Ground> {
  const dataDir = await realpath(await mkdtemp(join(tmpdir(), 'cluster-')))
  if (template) execFileSync('cp', ['-a', `${template}/.`, dataDir])
  const clusters: Cluster[] = []
  const lines: string[] = []
  return {
    dataDir,
    lines,
    start: async (options) => {
      const progress = (line: string) => lines.push(line)
      const cluster = await startCluster({ dataDir, replica: true, fsync: false, progress, ...options })
      clusters.push(cluster)
      return cluster
    },
    startAndKillOwner: (killAt = 'up') => startAndKillOwner(dataDir, killAt),
    clear: async () => {
      await Promise.allSettled(clusters.map((cluster) => cluster.stop()))
      const folders = ['primary', 'replica', 'primary.new', 'replica.new']
      await Promise.all(folders.map((name) => killServerProcesses(join(dataDir, name))))
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

async function startAndKillOwner(dataDir: string, killAt: string): Promise<void> {
  const file = await bundleOf(new URL('./cluster-fixture.ts', import.meta.url))
  const owner = spawn(process.execPath, [file, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    for await (const line of createInterface(owner.stdout)) {
      if (line.startsWith(killAt)) return
    }
    throw new Error(`the owner ended before "${killAt}"`)
  } finally {
    await kill(owner)
  }
}

/** Sends SIGKILL and waits until the process has ended. */
export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

export function killServer(pid: number | null): void {
  if (pid === null) throw new Error('the server is not running')
  process.kill(pid, 'SIGKILL')
}

export async function add(url: string | undefined, value: number): Promise<void> {
  await withConnection(url ?? '', async (sql) => {
    await sql`create table if not exists kept (value integer)`
    await sql`insert into kept values (${value})`
  })
}

/** The values that were added; undefined while the server doesn't answer. */
export async function values(url: string | undefined): Promise<number[] | undefined> {
  const read = withConnection(url ?? '', (sql) => sql`select value from kept order by value`)
  const rows = await read.catch(() => undefined)
  return rows?.map((row) => Number(row.value))
}

/** Returns the values once they are as expected, or as they are after 30 s: a replica is a moment behind. */
export async function valuesSoon(url: string | undefined, expected: number[]): Promise<number[] | undefined> {
  await waitUntil(async () => String(await values(url)) === String(expected), 30_000)
  return values(url)
}
