import { setTimeout as sleep } from 'node:timers/promises'
import { logger } from '#telemetry'
import { failLostJobs, refuseUnknownJobs } from './queue.ts'
import { jobTypes } from './schema.ts'
import { shortenWaits } from './shorten-waits.ts'

const LOOK_MS = 1_000

const types = Object.keys(jobTypes)
const looks = [failLostJobs, () => refuseUnknownJobs(types), () => shortenWaits(types)]

/**
 * Ends the attempts of workers that have died, and jobs that nobody could run, once a second, until `signal`. One look that fails keeps
 * none of the others from being taken.
 */
export async function watchQueue(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const look of looks) {
      await look().catch((error) => logger().error({ err: error }, 'the queue of jobs could not be looked after'))
    }
    // Rejects when it is aborted, which the loop's condition then sees.
    await sleep(LOOK_MS * (0.5 + Math.random()), undefined, { signal }).catch(() => {})
  }
}
