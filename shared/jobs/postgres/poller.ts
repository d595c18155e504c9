import { jittered } from '#async'
import { logger } from '#telemetry'
import type { Hand } from '../in-flight.ts'
import { createSlots } from '../slots.ts'
import type { Worker } from '../worker.ts'
import { claimJobs } from './queue.ts'
import { watchQueue } from './rescuer.ts'

const IDLE_MS = 200
const AFTER_ERROR_MS = 1_000

/** Works the table: asks it for jobs that are due, five times a second when idle. */
export function poll(hand: Hand): Worker {
  const bell = createBell()
  const stopping = new AbortController()
  const running = pollUntil(stopping.signal, hand, bell)
  const watching = watchQueue()
  return {
    async stop() {
      stopping.abort()
      bell.ring()
      await Promise.all([running, watching.stop()])
      await hand.drain()
    },
  }
}

async function pollUntil(signal: AbortSignal, hand: Hand, bell: Bell): Promise<void> {
  const slots = createSlots()
  while (!signal.aborted) {
    try {
      for (const claim of await claimJobs(slots.free())) {
        // At once: no more were claimed than there are slots.
        void slots.enter(claim.type)
        void hand.work(claim).finally(() => {
          slots.leave(claim.type)
          bell.ring()
        })
      }
      await bell.wait(IDLE_MS)
    } catch (error) {
      logger().error({ err: error }, 'the queue does not answer')
      await bell.wait(jittered(AFTER_ERROR_MS))
    }
  }
}

interface Bell {
  /** Ends the wait, or the next one if nobody waits now. */
  ring: () => void
  wait: (ms: number) => Promise<void>
}

function createBell(): Bell {
  let hasRung = false
  let wake = () => {}
  return {
    ring() {
      hasRung = true
      wake()
    },
    async wait(ms) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
        if (hasRung) wake()
      })
      hasRung = false
    },
  }
}
