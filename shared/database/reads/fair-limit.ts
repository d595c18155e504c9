import { createShares } from '#async'
import { overloaded, ServiceError } from '#errors'
import type { RequestContext } from '../request-context.ts'

interface FairLimitOptions {
  atOnceMax: number
  waitingMax: number
  /** The beginning of a refusal's detail. */
  tooMany: string
}

/** The request that the work is for. */
export type Requester = Pick<RequestContext, 'actor' | 'isGone'>

interface Waiting {
  by: Requester
  begin: () => void
  fail: (error: ServiceError) => void
}

/**
 * Bounds the running work and the waiting work, in total and for one actor, so that one actor leaves some for the others. Work waits in order,
 * except that an actor whose share is in use is passed over. It is not begun if the client is gone by then. Throws `overloaded` if too much work
 * waits, in total or for the actor.
 */
export function createFairLimit({ atOnceMax, waitingMax, tooMany }: FairLimitOptions) {
  const running = createShares(atOnceMax)
  const waiters = createShares(waitingMax)
  const queue = new Set<Waiting>()

  function wait(by: Requester): Promise<void> {
    if (!waiters.take(by.actor, 1)) {
      throw overloaded(`${tooMany} Try again shortly.`)
    }
    return new Promise((begin, fail) => queue.add({ by, begin, fail }))
  }

  function leave({ actor }: Requester): void {
    running.giveBack(actor, 1)
    for (const waiting of queue) {
      const { by, begin, fail } = waiting
      const isGone = by.isGone()
      if (!isGone && !running.take(by.actor, 1)) continue
      queue.delete(waiting)
      waiters.giveBack(by.actor, 1)
      if (isGone) fail(new ServiceError('client_closed_request', 'The client disconnected before the work began.'))
      else begin()
    }
  }

  return async <Result>(by: Requester, work: () => Promise<Result>): Promise<Result> => {
    if (!running.take(by.actor, 1)) await wait(by)
    try {
      return await work()
    } finally {
      leave(by)
    }
  }
}
