import { mkdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { lockFolder } from '../folder-lock.ts'
import type { Binaries } from './postgres-binaries.ts'
import { PostgresServer, type Role } from './postgres-server.ts'
import { type ClusterLayout, copyReplica, isPromoted, prepareFolders, readPassword } from './prepare-folders.ts'
import { findPrograms } from './programs.ts'
import { DATABASE, preparePrimary, SLOT, startFollowing } from './replication.ts'
import { supervise } from './supervisor.ts'

export interface ClusterOptions {
  /** The cluster's own folder. It is created if it is missing. */
  dataDir: string
  replica: boolean
  /** Default true. False is for tests: a power cut may then lose or damage the data. */
  fsync?: boolean
  /** Default: free ports, chosen by the operating system. */
  ports?: { primary?: number; replica?: number }
  /** The programs to use instead of the embedded ones. */
  binaries?: Binaries
  /** Further settings of both servers. */
  settings?: Record<string, string>
  /** How long a server that has ended stays down. Default: 1 s, or 5 s for a primary with a replica, which may be promoted in that time. */
  restartAfterMs?: number
  progress?: (line: string) => void
  /** A server ended by itself. It is restarted, at most five times in ten minutes. */
  onUnexpectedExit?: (role: Role, detail: string) => void
  /** The server is back, on the same port, with another process id. */
  onRestart?: (role: Role) => void
  /** Aborted before a stop. Ends a start or restart that is in progress, and prevents further restarts. */
  signal?: AbortSignal
}

export interface Cluster {
  primaryUrl: string
  replicaUrl: string | undefined
  pids(): { primary: number | null; replica: number | null }
  /** Stops both servers. Each is killed if it takes longer than 20 s. */
  stop(): Promise<void>
}

/** Time for an operator to promote the replica, which is then the better primary. */
const PRIMARY_RESTART_MS = 5_000
const RESTART_MS = 1_000

interface Servers {
  primary: PostgresServer
  replica: PostgresServer | undefined
}

/**
 * Starts PostgreSQL on a data folder, with a streaming replica if requested. The first start creates the folder. Recovers from a kill at
 * any moment. Throws if another running process uses the folder.
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  await mkdir(options.dataDir, { recursive: true })
  // The canonical path, because processes of an earlier run are found by the folder in their command lines.
  const dataDir = await realpath(options.dataDir)
  const lock = await lockFolder(dataDir)
  const stopping = new AbortController()
  const signal = AbortSignal.any(options.signal ? [stopping.signal, options.signal] : [stopping.signal])
  let servers: Servers | undefined
  try {
    const layout = await prepareLayout(options, dataDir)
    servers = await createServers(options, layout, signal)
    await bringUp(layout, servers, signal)
    if (servers.primary.pid === null || servers.replica?.pid === null)
      throw new Error('A server ended during the start.')
  } catch (error) {
    await stopServers(servers).finally(lock.release)
    throw error
  }
  const { primary, replica } = servers
  const settled = superviseAll(options, servers, dataDir, signal)

  let stopped: Promise<void> | undefined
  const stop = async () => {
    stopping.abort()
    await Promise.all(settled.map((wait) => wait()))
    await stopServers(servers).finally(lock.release)
  }
  return {
    primaryUrl: primary.url(DATABASE),
    replicaUrl: replica?.url(DATABASE),
    pids: () => ({ primary: primary.pid, replica: replica?.pid ?? null }),
    stop: () => {
      stopped ??= stop()
      return stopped
    },
  }
}

async function prepareLayout(options: ClusterOptions, dataDir: string): Promise<ClusterLayout> {
  const layout: ClusterLayout = {
    programs: await findPrograms(dataDir, options.binaries),
    dataDir,
    primary: join(dataDir, 'primary'),
    replica: join(dataDir, 'replica'),
    hasReplica: options.replica,
    durable: options.fsync ?? true,
    progress: options.progress ?? (() => {}),
  }
  await prepareFolders(layout)
  return layout
}

async function createServers(options: ClusterOptions, layout: ClusterLayout, signal: AbortSignal): Promise<Servers> {
  const password = await readPassword(layout.primary)
  const settings = { ...COMMON_SETTINGS, ...(!layout.durable && BRIEF_SETTINGS), ...options.settings }
  const create = (role: Role, more: () => Record<string, string>) =>
    new PostgresServer({
      role,
      programs: layout.programs,
      folder: layout[role],
      logFile: join(layout.dataDir, `${role}.log`),
      password,
      port: options.ports?.[role],
      settings: () => ({ ...settings, ...more() }),
      progress: layout.progress,
      signal,
    })
  const primary = create('primary', () => ({}))
  const replica = create('replica', () => ({
    // The password is in a file (relative to the data folder): a command line can be read by every user of the machine.
    primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres passfile=pgpass application_name=replica`,
    primary_slot_name: SLOT,
  }))
  return { primary, replica: options.replica ? replica : undefined }
}

const COMMON_SETTINGS = {
  max_connections: '200',
  idle_in_transaction_session_timeout: '30s',
  hot_standby_feedback: 'on',
  max_wal_size: '1GB',
  // A replica that is away for longer than this much WAL lasts is copied again, which is better than a full disk.
  max_slot_wal_keep_size: '1GB',
  // With the default of 5 s, a replica would wait that long before it reconnects to a restarted primary.
  wal_retrieve_retry_interval: '500ms',
}

/** For a folder that will be deleted. A killed server leaves its shared memory behind: in that folder, not in the system's. */
const BRIEF_SETTINGS = { fsync: 'off', dynamic_shared_memory_type: 'mmap' }

async function bringUp(layout: ClusterLayout, { primary, replica }: Servers, signal: AbortSignal): Promise<void> {
  layout.progress('starting the primary')
  await primary.start()
  const slotIsGood = await preparePrimary(primary, layout.hasReplica)
  if (!replica) return
  layout.progress('starting the replica')
  const obstacle = slotIsGood ? await startFollowing(replica, signal) : 'its slot was lost'
  if (!obstacle) return

  layout.progress(`the replica can't follow any more: ${obstacle}`)
  await replica.stop()
  await primary.stop()
  await copyReplica(layout)
  await primary.start()
  await preparePrimary(primary, true)
  const still = await startFollowing(replica, signal)
  if (still) throw new Error(`The replica does not follow the primary: ${still}`)
}

function superviseAll(options: ClusterOptions, servers: Servers, dataDir: string, signal: AbortSignal) {
  const { primary, replica } = servers
  const progress = options.progress ?? (() => {})
  const watch = (
    role: Role,
    server: PostgresServer,
    restartAfterMs: number,
    mayNotRestart: () => Promise<string | undefined>,
  ) =>
    supervise({
      server,
      restartAfterMs,
      mayNotRestart,
      progress,
      signal,
      onUnexpectedExit: (detail) => options.onUnexpectedExit?.(role, detail),
      onRestarted: () => options.onRestart?.(role),
    }).settled

  const settled = [
    watch('primary', primary, options.restartAfterMs ?? (replica ? PRIMARY_RESTART_MS : RESTART_MS), async () =>
      replica && (await isPromoted(join(dataDir, 'replica')))
        ? 'the replica was promoted: leaving the old primary down'
        : undefined,
    ),
  ]
  if (replica) settled.push(watch('replica', replica, options.restartAfterMs ?? RESTART_MS, async () => undefined))
  return settled
}

async function stopServers(servers: Servers | undefined): Promise<void> {
  await Promise.all([servers?.replica?.stop(), servers?.primary.stop()])
}
