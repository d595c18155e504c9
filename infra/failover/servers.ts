import { environment } from '#config'
import { runDocker } from '../local/commands/docker.ts'

/** The servers of docker-compose.yml, each named after what it is at first. */
export const servers = ['postgres-primary', 'postgres-replica'] as const
export type Server = (typeof servers)[number]

export interface ServerState {
  server: Server
  /** Silent is one whose container runs, and that does not answer, or not as a server that is up. */
  role: 'primary' | 'replica' | 'silent' | 'stopped'
  /** Why it is silent. */
  reason?: string | undefined
  /** How far its log goes: 0 of one that does not answer. */
  timeline: number
  /** In bytes. */
  offset: number
}

/** A server that takes longer to answer takes no writes either. */
const ANSWER_MAX_S = 3
/** Of a command of Docker's, which starts a container at most. */
const COMMAND_MS_MAX = 60_000

const POSITION = `select pg_is_in_recovery(),
  case when pg_is_in_recovery() then coalesce((select received_tli from pg_stat_wal_receiver), timeline_id)
    else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end,
  (case when pg_is_in_recovery() then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
    else pg_current_wal_lsn() end) - '0/0'
  from pg_control_checkpoint()`

/** `docker compose …`; gives what it writes. Throws with the end of that where it fails, or takes more than a minute. */
export function compose(...args: string[]): Promise<string> {
  return runDocker(['compose', '--progress', 'quiet', ...args], { env: environment(), timeoutMs: COMMAND_MS_MAX })
}

/** Runs a statement on a server as its superuser. Gives the rows, unaligned. Throws where it does not answer within `maxS` seconds. */
export function ask(server: Server, statement: string, maxS = ANSWER_MAX_S): Promise<string> {
  const psql = ['psql', '-U', 'postgres', '-d', 'postgres', '-XAtq', '-c', statement]
  return compose('exec', '-T', server, 'timeout', String(maxS), ...psql)
}

/** What each server is at this moment. Throws where there is no container engine, or it has no such project. */
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

/** How many replicas a primary sends its log to. */
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

/** Stops a server in an instant; it is not started again by itself. Throws where it still runs after that. */
export async function kill(server: Server): Promise<void> {
  // Of a container that does not run at this moment there is nothing to kill; one that is about to start again has to be stopped.
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
