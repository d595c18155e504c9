import { jittered, type Loop, startLoop } from '#async'
import { logger } from '#telemetry'
import { jobTypes } from '../schema.ts'
import { failLostJobs, refuseUnknownJobs } from './queue.ts'
import { shortenWaits } from './shorten-waits.ts'

const LOOK_MS = 1_000

const types = Object.keys(jobTypes)
const looks = [failLostJobs, () => refuseUnknownJobs(types), () => shortenWaits(types)]

/**
 * Ends the attempts of workers that have died, and jobs that nobody could run, once a second. One look that fails keeps none of the
 * others from being taken.
 */
export function watchQueue(): Loop {
  return startLoop(async () => {
    for (const look of looks) {
      await look().catch((error) => logger().error({ err: error }, 'the queue of jobs could not be looked after'))
    }
    return jittered(LOOK_MS)
  })
}
