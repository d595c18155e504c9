import { setTimeout as sleep } from 'node:timers/promises'
import type { Outcome } from '#errors'
import { gauge, logger } from '#telemetry'
import { type Claim, handBack, keepJob, LEASE_MS, settleJob, takeClaimed } from './postgres/queue.ts'

/** Less than the 8 s that `npm start` gives its functions, and the 10 s of a container. */
const DRAIN_MS = 5_000

const held = gauge('jobs_in_hand', 'Jobs that this process works on.')

/** The jobs that a worker works on, each kept as its own by signs of life. */
export interface Hand {
  /** Whether one of them was claimed under an id that begins so. */
  holds: (idStart: string) => boolean
  /**
   * Delivers the job and writes down what came of it. Never throws: what can't be written down is made up for when the lease is over.
   * False if the job was handed back meanwhile.
   */
  work: (claim: Claim) => Promise<boolean>
  /** Gives those in hand 5 s, and hands the others back. */
  drain: () => Promise<void>
}

export function createHand(deliver: (claim: Claim) => Promise<Outcome>): Hand {
  const inHand = new Map<Claim, Promise<void>>()
  let isHandedBack = false
  return {
    holds: (idStart) => [...inHand.keys()].some(({ id }) => id.startsWith(idStart)),
    async work(claim) {
      const handled = handle(claim, deliver).finally(() => {
        inHand.delete(claim)
        held.set(inHand.size)
      })
      inHand.set(claim, handled)
      held.set(inHand.size)
      await handled
      return !isHandedBack
    },
    async drain() {
      await Promise.race([Promise.all(inHand.values()), sleep(DRAIN_MS, undefined, { ref: false })])
      if (inHand.size === 0) return
      isHandedBack = true
      await handBackSafely([...inHand.keys()])
    },
  }
}

async function handle(claim: Claim, deliver: (claim: Claim) => Promise<Outcome>): Promise<void> {
  const warn = (error: unknown) => logger().warn({ job: claim.jobId, err: error }, 'the lease could not be kept')
  const timer = setInterval(() => keepJob(claim).catch(warn), LEASE_MS / 3)
  try {
    await settleJob(claim, await deliver(claim))
  } catch (error) {
    logger().error({ job: claim.jobId, err: error }, 'the outcome could not be written down')
  } finally {
    clearInterval(timer)
    // Where the function refused to begin.
    takeClaimed(claim.id)
  }
}

/** What can't be handed back is taken from this process when its leases are over. */
export async function handBackSafely(claims: Claim[]): Promise<void> {
  await handBack(claims).catch((error) => logger().warn({ err: error }, 'jobs could not be handed back'))
}
