import { setTimeout as sleep } from 'node:timers/promises'
import { logger } from '#telemetry'
import { failLostJobs, refuseUnknownJobs } from './queue.ts'
import { jobTypes } from './schema.ts'
import { shortenWaits } from './shorten-waits.ts'

const LOOK_MS = 1_000

/** Ends the attempts of workers that have died, and jobs that nobody could run, once a second, until `signal`. */
export async function watchQueue(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await shortenWaits(Object.keys(jobTypes))
      await failLostJobs()
      await refuseUnknownJobs(Object.keys(jobTypes))
    } catch (error) {
      logger().error({ err: error }, 'lost jobs could not be looked for')
    }
    // Rejects when it is aborted, which the loop's condition then sees.
    await sleep(LOOK_MS * (0.5 + Math.random()), undefined, { signal }).catch(() => {})
  }
}
