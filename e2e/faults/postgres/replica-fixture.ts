import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureBootstrapKey } from '#access'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { ADMIN_KEY } from '#testing'
import { type Cluster, type ClusterOptions, startCluster } from '../../../infra/local/postgres/cluster.ts'
import { type Connection, withConnection } from '../../../infra/local/postgres/sql.ts'
import { serverProcesses, signalAll } from '../../../infra/local/processes.ts'
import { waitUntil } from '../../../infra/local/waits.ts'

/** A primary and its replica for one test file only, which can be paused, stopped and killed. The service in this process uses them. */
export interface Pair {
  cluster: Cluster
  /** Contains the servers' folders, `primary` and `replica`. */
  dataDir: string
  primaryUrl: string
  replicaUrl: string
  /** Runs statements on the replica itself, even if the service does not use it. */
  onReplica: <Result>(work: (sql: Connection) => Promise<Result>) => Promise<Result>
  /** Sends a signal to every process of the primary. From outside, SIGSTOP looks like a machine that hangs. */
  signalPrimary: (name: NodeJS.Signals) => void
  stop: () => Promise<void>
}

/** Names both servers in one URL, in this order. They differ only in host and port. */
export function urlOfBoth(one: string, other: string): string {
  const { host } = new URL(one)
  return one.replace(host, `${host},${new URL(other).host}`)
}

/** Whether the replica has the last write. */
async function hasKey(replicaUrl: string): Promise<boolean> {
  const found = withConnection(replicaUrl, (sql) => sql`select 1 from api_keys`)
  return found.then(
    (rows) => rows.length > 0,
    () => false,
  )
}

export async function startPair(options: Partial<ClusterOptions> = {}): Promise<Pair> {
  const { DATABASE_URL: home, DATABASE_REPLICA_URL: homeReplica } = environment()
  const dataDir = await realpath(await mkdtemp(join(tmpdir(), 'stock-pair-')))
  const cluster = await startCluster({ dataDir, replica: true, fsync: false, ...options })
  const { primaryUrl, replicaUrl = '' } = cluster
  const stop = async () => {
    await closeDatabase()
    overrideEnvironment({ DATABASE_URL: home, DATABASE_REPLICA_URL: homeReplica })
    await cluster.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
  try {
    await closeDatabase()
    overrideEnvironment({ DATABASE_URL: primaryUrl, DATABASE_REPLICA_URL: replicaUrl })
    await migrate()
    await ensureBootstrapKey(ADMIN_KEY)
    await closeDatabase()
    await waitUntil(() => hasKey(replicaUrl), 10_000)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    cluster,
    dataDir,
    primaryUrl,
    replicaUrl,
    onReplica: (work) => withConnection(replicaUrl, work),
    signalPrimary: (name) => {
      const { roots, children } = serverProcesses(join(dataDir, 'primary'))
      // The postmaster first, since it would start new children.
      signalAll([...roots, ...children], name)
    },
    stop,
  }
}
