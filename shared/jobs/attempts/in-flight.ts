import { setTimeout as sleep } from 'node:timers/promises'
import { levelOf } from '#database'
import type { Outcome } from '#errors'
import { gauge, logger } from '#telemetry'
import { type Claim, LEASE_MS, renewLease } from './claim.ts'
import { takeClaimed } from './claimed-jobs.ts'
import { handBack, recordFailure } from './end-attempt.ts'

/** Less than the 8 s that `npm start` gives its functions, and the 10 s of a container. */
const DRAIN_MS = 5_000

const count = gauge('jobs_in_flight', 'Jobs that this process is running.')

/** The jobs that a worker is running. Each lease is renewed by a heartbeat. */
export interface InFlightJobs {
  /** Whether one of the jobs was claimed under an id with this prefix. */
  hasClaim: (idPrefix: string) => boolean
  /**
   * Delivers the job and records its outcome. Never throws: a job whose outcome can't be recorded is retried when its lease expires. Resolves with
   * false if the job was handed back meanwhile.
   */
  run: (claim: Claim) => Promise<boolean>
  /** Gives the jobs 5 s to finish, and hands the rest back. */
  drain: () => Promise<void>
}

export function createInFlightJobs(deliver: (claim: Claim) => Promise<Outcome>): InFlightJobs {
  const inFlight = new Map<Claim, Promise<void>>()
  let isHandedBack = false
  return {
    hasClaim: (idPrefix) => [...inFlight.keys()].some(({ id }) => id.startsWith(idPrefix)),
    async run(claim) {
      const handled = handle(claim, deliver).finally(() => {
        inFlight.delete(claim)
        count.set(inFlight.size)
      })
      inFlight.set(claim, handled)
      count.set(inFlight.size)
      await handled
      return !isHandedBack
    },
    async drain() {
      await Promise.race([Promise.all(inFlight.values()), sleep(DRAIN_MS, undefined, { ref: false })])
      if (inFlight.size === 0) return
      isHandedBack = true
      await handBackSafely([...inFlight.keys()])
    },
  }
}

async function handle(claim: Claim, deliver: (claim: Claim) => Promise<Outcome>): Promise<void> {
  const warn = (error: unknown) =>
    logger().warn({ job: claim.jobId, err: error }, 'could not renew the lease of the job')
  const timer = setInterval(() => renewLease(claim).catch(warn), LEASE_MS / 3)
  try {
    await recordFailure(claim, await deliver(claim))
  } catch (error) {
    logger()[levelOf(error)](
      { job: claim.jobId, err: error },
      'could not record the outcome of the job; its lease will expire',
    )
  } finally {
    clearInterval(timer)
    // The row is still there if the function refused the delivery.
    takeClaimed(claim.id)
  }
}

/** If this fails, the leases of the jobs expire. */
export async function handBackSafely(claims: Claim[]): Promise<void> {
  await handBack(claims).catch((error) =>
    logger().warn({ err: error }, 'could not hand jobs back; their leases will expire'),
  )
}
