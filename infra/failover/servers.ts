import { environment } from '#config'
import { runDocker } from '../local/commands/docker.ts'

/** The servers of docker-compose.yml. Each is named after its first role. */
export const servers = ['postgres-primary', 'postgres-replica'] as const
export type Server = (typeof servers)[number]

export interface ServerState {
  server: Server
  /** A silent server's container runs, but the server does not answer, or not like a server that is up. */
  role: 'primary' | 'replica' | 'silent' | 'stopped'
  /** The reason why the server is silent. */
  reason?: string | undefined
  /** The end of its WAL; 0 if the server does not answer. */
  timeline: number
  /** The position on that timeline, in bytes. */
  offset: number
}

/** A server that takes longer to answer does not accept writes either. */
const ANSWER_MAX_S = 3
/** The limit for a Docker command, which at most starts a container. */
const COMMAND_MS_MAX = 60_000

const POSITION = `select pg_is_in_recovery(),
  case when pg_is_in_recovery() then coalesce((select received_tli from pg_stat_wal_receiver), timeline_id)
    else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end,
  (case when pg_is_in_recovery() then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
    else pg_current_wal_lsn() end) - '0/0'
  from pg_control_checkpoint()`

/** Runs `docker compose …` and returns its output. Throws an error with the end of the output if it fails or takes more than a minute. */
export function compose(...args: string[]): Promise<string> {
  return runDocker(['compose', '--progress', 'quiet', ...args], { env: environment(), timeoutMs: COMMAND_MS_MAX })
}

/** Runs a statement on a server as its superuser. Returns the rows, unaligned. Throws if the server does not answer within `maxS` seconds. */
export function ask(server: Server, statement: string, maxS = ANSWER_MAX_S): Promise<string> {
  const psql = ['psql', '-U', 'postgres', '-d', 'postgres', '-XAtq', '-c', statement]
  return compose('exec', '-T', server, 'timeout', String(maxS), ...psql)
}

/** Returns the current state of each server. Throws if there is no container engine, or if it has no such project. */
export async function findStates(): Promise<ServerState[]> {
  const running = (
    await compose('ps', '--services', '--status', 'running', '--status', 'paused', '--status', 'restarting')
  ).split('\n')
  return Promise.all(
    servers.map((server) =>
      running.includes(server) ? stateOf(server) : { server, role: 'stopped' as const, timeline: 0, offset: 0 },
    ),
  )
}

async function stateOf(server: Server): Promise<ServerState> {
  const answer = await ask(server, POSITION).catch((error: Error) => error)
  if (answer instanceof Error) {
    return { server, role: 'silent', reason: answer.message.split('\n').at(-1), timeline: 0, offset: 0 }
  }
  const [isReplica, timeline, offset] = answer.split('|')
  return { server, role: isReplica === 't' ? 'replica' : 'primary', timeline: Number(timeline), offset: Number(offset) }
}

/** Returns how many replicas a primary streams its WAL to. */
export async function followersOf(server: Server): Promise<number> {
  return Number(await ask(server, `select count(*) from pg_stat_replication where state = 'streaming'`))
}

export function describe({ server, role, reason, timeline, offset }: ServerState): string {
  switch (role) {
    case 'stopped':
      return `${server} is stopped`
    case 'silent':
      return `${server} runs, and does not answer (${reason})`
    default:
      return `${server} is a ${role}, on timeline ${timeline} at byte ${offset} of the log`
  }
}

/** Stops a server at once. Docker does not start it again by itself. Throws if the server still runs after that. */
export async function kill(server: Server): Promise<void> {
  // If the container does not run now, there is nothing to kill. A container that is about to start again has to be stopped.
  await compose('kill', server).catch(() => {})
  await compose('stop', '--timeout', '0', server)
  const left = await compose(
    'ps',
    '--quiet',
    '--status',
    'running',
    '--status',
    'paused',
    '--status',
    'restarting',
    server,
  )
  if (left !== '') throw new Error(`${server} could not be stopped: it still runs. Nothing was promoted.`)
}
