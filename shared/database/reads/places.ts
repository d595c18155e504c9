import { createShares } from '#async'
import { overloaded, ServiceError } from '#errors'
import type { RequestContext } from '../request-context.ts'

interface PlacesOptions {
  atOnceMax: number
  waitingMax: number
  /** What too many do, for those who are refused. */
  tooMany: string
}

/** Whose place it is. */
export type Occupant = Pick<RequestContext, 'actor' | 'isGone'>

interface Waiting {
  by: Occupant
  begin: () => void
  fail: (error: ServiceError) => void
}

/**
 * Bounds how much is done at a time, in all and for one actor, and how much waits for that: whatever one asks for, others find a place. Those
 * who wait come in their order, but for those whose share is taken; work is not begun for who has gone meanwhile. Throws `overloaded`
 * where too many wait, or the actor's share of those.
 */
export function createPlaces({ atOnceMax, waitingMax, tooMany }: PlacesOptions) {
  const places = createShares(atOnceMax)
  const seats = createShares(waitingMax)
  const queue = new Set<Waiting>()

  function wait(by: Occupant): Promise<void> {
    if (!seats.take(by.actor, 1)) {
      throw overloaded(`${tooMany} Try again shortly.`)
    }
    return new Promise((begin, fail) => queue.add({ by, begin, fail }))
  }

  function leave({ actor }: Occupant): void {
    places.giveBack(actor, 1)
    for (const waiting of queue) {
      const { by, begin, fail } = waiting
      const isGone = by.isGone()
      if (!isGone && !places.take(by.actor, 1)) continue
      queue.delete(waiting)
      seats.giveBack(by.actor, 1)
      if (isGone) fail(new ServiceError('client_closed_request', 'Whoever asked has gone before the work began.'))
      else begin()
    }
  }

  return async <Result>(by: Occupant, work: () => Promise<Result>): Promise<Result> => {
    if (!places.take(by.actor, 1)) await wait(by)
    try {
      return await work()
    } finally {
      leave(by)
    }
  }
}
