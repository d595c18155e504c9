import { jittered } from '#async'
import { levelOf } from '#database'
import { logger } from '#telemetry'
import { claimJobs } from '../attempts/claim.ts'
import type { InFlightJobs } from '../attempts/in-flight.ts'
import { createSlots } from '../attempts/slots.ts'
import type { Worker } from '../worker.ts'
import { startRescuer } from './rescuer.ts'

const IDLE_MS = 200
const AFTER_ERROR_MS = 1_000

/** Works on the jobs in the table: claims due jobs, five times a second when idle. */
export function poll(jobs: InFlightJobs): Worker {
  const wakeUp = createWakeUp()
  const stopping = new AbortController()
  const running = pollUntil(stopping.signal, jobs, wakeUp)
  const rescuer = startRescuer()
  return {
    async stop() {
      stopping.abort()
      wakeUp.send()
      await Promise.all([running, rescuer.stop()])
      await jobs.drain()
    },
  }
}

async function pollUntil(signal: AbortSignal, jobs: InFlightJobs, wakeUp: WakeUp): Promise<void> {
  const slots = createSlots()
  while (!signal.aborted) {
    try {
      for (const claim of await claimJobs(slots.free())) {
        // Does not wait: no more jobs are claimed than there are free slots.
        void slots.acquire(claim.type)
        void jobs.run(claim).finally(() => {
          slots.release(claim.type)
          wakeUp.send()
        })
      }
      await wakeUp.wait(IDLE_MS)
    } catch (error) {
      logger()[levelOf(error)]({ err: error }, 'could not claim jobs; it will try again')
      await wakeUp.wait(jittered(AFTER_ERROR_MS))
    }
  }
}

interface WakeUp {
  /** Ends the current wait, or else the next one. */
  send: () => void
  wait: (ms: number) => Promise<void>
}

function createWakeUp(): WakeUp {
  let isSent = false
  let wake = () => {}
  return {
    send() {
      isSent = true
      wake()
    },
    async wait(ms) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
        if (isSent) wake()
      })
      isSent = false
    },
  }
}
