import { jittered, type Loop, startLoop } from '#async'
import { levelOf } from '#database'
import { logger } from '#telemetry'
import { failLostJobs, refuseUnknownJobs } from '../attempts/end-attempt.ts'
import { jobTypes } from '../job-types.ts'
import { shortenWaits } from './shorten-waits.ts'

const ROUND_MS = 1_000

const types = Object.keys(jobTypes)
const tasks = [failLostJobs, () => refuseUnknownJobs(types), () => shortenWaits(types)]

/**
 * Once a second, ends the attempts of dead workers and the jobs of types that this version can't run, and shortens waits that a wrong clock made
 * too long. The tasks fail independently.
 */
export function startRescuer(): Loop {
  return startLoop(async () => {
    for (const task of tasks) {
      await task().catch((error) =>
        logger()[levelOf(error)]({ err: error }, 'could not rescue jobs; it will try again'),
      )
    }
    return jittered(ROUND_MS)
  })
}
