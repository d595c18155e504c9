import type { Scope } from '#database'

/** What an attempt needs to know of its job. */
export interface ClaimedJob {
  type: string
  payload: unknown
  actor: string
  /** Null: the submitter may do everything. */
  scopes: Scope[] | null
  /** What the last step of an earlier attempt left. */
  checkpoint: unknown
}

/**
 * Rows that this process's workers have claimed and not begun, by claim id. A cache, not a parameter, because a function gets a
 * CloudEvent and no more, whichever way that comes: `runJob` takes the row from here, and claims the job itself where there is none.
 */
const rows = new Map<string, ClaimedJob>()

export function cacheClaimed(claimId: string, job: ClaimedJob): void {
  rows.set(claimId, job)
}

/** Gives the row of a claim once: the next caller with the same id is another delivery. */
export function takeClaimed(claimId: string): ClaimedJob | undefined {
  const job = rows.get(claimId)
  rows.delete(claimId)
  return job
}
