import { environment } from '#config'
import { runDocker } from '../local/commands/docker.ts'
import { timed } from '../local/commands/operator-command.ts'
import { waitUntil } from '../local/waits.ts'
import { type Change, chooseChange } from './choose.ts'
import { ask, compose, describe, findStates, followersOf, kill, type Server } from './servers.ts'

/** Before the replica accepts writes, it replays the WAL that it has received. That may be as much as its lag limit. */
const PROMOTION_MAX_S = 60

interface FailOverOptions {
  isDryRun: boolean
  /** Swaps the two servers while the primary is healthy. */
  isSwitch: boolean
}

/**
 * Stops the primary, turns its data into a replica's, and promotes the replica. If there is nothing to do or something fails, throws an error
 * that says what to do. Until the promotion itself, it can be run again.
 */
export async function failOver({ isDryRun, isSwitch }: FailOverOptions): Promise<void> {
  const states = await findStates()
  for (const state of states) timed(describe(state))
  const { from, to } = chooseChange(states, isSwitch)
  if (isSwitch && (await followersOf(from.server)) === 0) {
    throw new Error(`${to.server} does not follow ${from.server}: a switch would lose what it lacks. Nothing was done.`)
  }
  if (isDryRun) {
    timed(
      `would stop ${from.server}${isSwitch ? ' and wait until all of its log is received' : ''}, fence it, and promote ${to.server}`,
    )
    return
  }
  await (isSwitch ? stopWithoutLoss({ from, to }) : kill(from.server))
  timed(`${from.server} is stopped`)
  await fence(from.server)
  await promote(to.server)
  timed(`${to.server} takes writes; the functions find it by themselves`)
  if (!isSwitch) await settle()
  timed(
    `One copy is left. As soon as ${from.server} can run: docker compose up -d ${from.server}. It follows, or says that it has to be copied anew.`,
  )
}

/** Stops a healthy primary, and checks that the replica has all of its WAL. If the replica does not, starts the primary again. */
async function stopWithoutLoss({ from, to }: Change): Promise<void> {
  await compose('stop', from.server)
  const control = await runOnVolume(from.server, 'pg_controldata')
  const last = /^Latest checkpoint location: +(\S+)$/m.exec(control)?.[1]
  const hasAll = last !== undefined && (await ask(to.server, `select pg_last_wal_receive_lsn() > '${last}'`)) === 't'
  if (hasAll && /^Database cluster state: +shut down$/m.test(control)) return
  await compose('start', from.server)
  throw new Error(
    `${to.server} had not received all of the log, so ${from.server} was started again. Nothing was changed.`,
  )
}

/** Fences a server's data: from then on, PostgreSQL itself starts them as a standby. Without this mark, the server checks its peer's volume. */
async function fence(server: Server): Promise<void> {
  try {
    await runOnVolume(server, '/run.sh', 'fence')
    timed(`${server} is fenced: it can't come back as a primary`)
  } catch (error) {
    timed(`${server} could not be fenced, so its volume may be damaged: ${(error as Error).message}`)
    timed('It looks for a promoted server before it starts, and does not start beside one.')
  }
}

/** Runs a program in a second container on the volume of a server that is stopped. */
function runOnVolume(server: Server, program: string, ...args: string[]): Promise<string> {
  return compose('run', '--rm', '--no-deps', '-T', '--entrypoint', program, server, ...args)
}

/** Some 200 products take 50 ms, so a million takes minutes. */
const SETTLE_MS_MAX = 3_600_000

/** Clients have seen writes that were acknowledged but not received: publishes products anew, past all versions that those writes can have used. */
export async function settle(): Promise<void> {
  timed('publishing the products anew, for readers of what was lost')
  const promoted = ['compose', 'run', '--rm', '--no-deps', '-T', 'migrate', 'promoted.mjs']
  await runDocker(promoted, { env: environment(), timeoutMs: SETTLE_MS_MAX, isShown: true }).catch((error: Error) => {
    throw new Error(
      `The fail-over is done, but not settled: npm run failover -- settle does that again. (${error.message})`,
    )
  })
}

async function promote(server: Server): Promise<void> {
  await ask(server, `select pg_promote(true, ${PROMOTION_MAX_S})`, PROMOTION_MAX_S + 1)
  const isServing = await waitUntil(() => takesWrites(server), PROMOTION_MAX_S * 1_000, 200)
  if (!isServing)
    throw new Error(`${server} was promoted, and takes no writes yet. docker compose logs ${server} says why.`)
  // Every commit would wait for a replica that no longer exists.
  if ((await ask(server, 'show synchronous_standby_names')) === '') return
  await ask(server, 'alter system reset synchronous_standby_names')
  await ask(server, 'select pg_reload_conf()')
  timed('commits wait for no replica any more: set synchronous_standby_names again once there is one')
}

/** Also checks over the network: a fenced server opens its port a moment after its promotion. */
async function takesWrites(server: Server): Promise<boolean> {
  const isPrimary = await ask(server, 'select not pg_is_in_recovery()').catch(() => 'f')
  if (isPrimary !== 't') return false
  return compose('exec', '-T', server, 'pg_isready', '--quiet', '--host', '127.0.0.1', '--username', 'stock').then(
    () => true,
    () => false,
  )
}
