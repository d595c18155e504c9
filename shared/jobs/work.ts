import { setTimeout as sleep } from 'node:timers/promises'
import type { Outcome } from '#errors'
import { gauge, logger } from '#telemetry'
import { type Claim, claimJobs, failLostJobs, handBack, keepJob, LEASE_MS, settleJob } from './queue.ts'
import { checkJobsSettings } from './settings.ts'

export interface Worker {
  /** Takes no more jobs, gives those in hand 5 s, and hands the others back. */
  stop: () => Promise<void>
}

export interface WorkOptions {
  queue: string
  /** Jobs in hand at once. */
  prefetch: number
  /** Must not throw. */
  deliver: (claim: Claim) => Promise<Outcome>
}

/** The one queue there is: a second would need a column. */
const QUEUE = 'jobs'
const IDLE_MS = 200
const LOST_LOOK_MS = 1_000
const AFTER_ERROR_MS = 1_000
/** Less than the 8 s that `npm start` gives its functions, and the 10 s of a container. */
const DRAIN_MS = 5_000

const held = gauge('jobs_in_hand', 'Jobs that this process works on.')

/** Works the queue: takes jobs that are due, delivers each, and writes down what came of it. Throws a ConfigError. */
export function work(options: WorkOptions): Worker {
  checkJobsSettings()
  if (options.queue !== QUEUE) throw new Error(`there is no queue '${options.queue}', only '${QUEUE}'`)
  const inHand = new Map<Claim, Promise<void>>()
  const bell = createBell()
  const stopping = new AbortController()
  const running = takeUntil(stopping.signal, options, inHand, bell)
  return {
    async stop() {
      stopping.abort()
      bell.ring()
      await running
      await drain(inHand)
    },
  }
}

async function takeUntil(
  signal: AbortSignal,
  options: WorkOptions,
  inHand: Map<Claim, Promise<void>>,
  bell: Bell,
): Promise<void> {
  let lostLookAt = 0
  while (!signal.aborted) {
    try {
      if (Date.now() >= lostLookAt) {
        await failLostJobs()
        lostLookAt = Date.now() + LOST_LOOK_MS
      }
      const free = options.prefetch - inHand.size
      for (const claim of free > 0 ? await claimJobs(free) : []) {
        const handled = handle(options, claim).finally(() => {
          inHand.delete(claim)
          bell.ring()
        })
        inHand.set(claim, handled)
      }
      held.set(inHand.size)
      await bell.wait(IDLE_MS)
    } catch (error) {
      logger().error({ queue: QUEUE, err: error }, 'the queue does not answer')
      await bell.wait(AFTER_ERROR_MS * (0.5 + Math.random()))
    }
  }
}

/** Never throws: what can't be written down is made up for when the lease is over. */
async function handle({ deliver }: WorkOptions, claim: Claim): Promise<void> {
  const warn = (error: unknown) => logger().warn({ job: claim.jobId, err: error }, 'the lease could not be kept')
  const timer = setInterval(() => keepJob(claim).catch(warn), LEASE_MS / 3)
  try {
    await settleJob(claim, await deliver(claim))
  } catch (error) {
    logger().error({ job: claim.jobId, err: error }, 'the outcome could not be written down')
  } finally {
    clearInterval(timer)
  }
}

async function drain(inHand: Map<Claim, Promise<void>>): Promise<void> {
  await Promise.race([Promise.all(inHand.values()), sleep(DRAIN_MS, undefined, { ref: false })])
  if (inHand.size === 0) return
  await handBack([...inHand.keys()]).catch((error) => logger().warn({ err: error }, 'jobs could not be handed back'))
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
