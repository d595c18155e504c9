import { environment } from '#config'
import { runDocker } from '../local/commands/docker.ts'
import { timed } from '../local/commands/operator-command.ts'
import { describe, findStates, followersOf, kill } from './servers.ts'

/** A copy takes as long as disk and network need: hours if there are terabytes. */
const COPY_MS_MAX = 24 * 3_600_000
const READY_MAX_S = 300

/**
 * Copies the primary over the data of the other server, and starts that server as its replica. Anything that only the old data contained is
 * lost. Throws if there is no primary, or if it already has a replica. The old data stay until the copy is complete.
 */
export async function reclone({ isDryRun }: { isDryRun: boolean }): Promise<void> {
  const states = await findStates()
  for (const state of states) timed(describe(state))
  const primary = states.find(({ role }) => role === 'primary')
  const other = states.find((state) => state !== primary)?.server
  if (!primary || !other) throw new Error('There is no primary to copy. To promote the replica: npm run failover.')
  if (states.filter(({ role }) => role === 'primary').length > 1) {
    throw new Error('Two servers take writes. Stop the one whose data are to go, and try again.')
  }
  if ((await followersOf(primary.server)) > 0) {
    throw new Error(`${primary.server} has a replica that follows it, so nothing is done.`)
  }
  if (isDryRun) {
    timed(`would stop ${other}, copy ${primary.server} over its data, and start it`)
    return
  }
  await kill(other)
  timed(`${other} is stopped; copying ${primary.server}`)
  await show('run', '--rm', '--no-deps', '-T', other, 'reclone')
  timed('copied; starting it')
  await show('up', '--detach', '--no-deps', '--no-recreate', '--wait', '--wait-timeout', String(READY_MAX_S), other)
  timed(`${other} follows ${primary.server}`)
}

/** Runs `docker compose …` and shows its progress. */
function show(...args: string[]): Promise<string> {
  return runDocker(['compose', ...args], { env: environment(), timeoutMs: COPY_MS_MAX, isShown: true })
}
