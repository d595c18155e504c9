import type { Scope } from '#database'

/** The data of a job that an attempt needs. */
export interface ClaimedJob {
  type: string
  payload: unknown
  actor: string
  /** Null: the submitter may do everything. */
  scopes: Scope[] | null
  /** The checkpoint of the last step of an earlier attempt. */
  checkpoint: unknown
}

/**
 * Rows that this process's workers have claimed and not begun, by claim id. This is a cache, not a parameter, because a function gets only a
 * CloudEvent, however it arrives: `runJob` takes the row from here, or claims the job itself if there is no row.
 */
const rows = new Map<string, ClaimedJob>()

export function cacheClaimed(claimId: string, job: ClaimedJob): void {
  rows.set(claimId, job)
}

/** Returns the row of a claim once: the next caller with the same id is another delivery. */
export function takeClaimed(claimId: string): ClaimedJob | undefined {
  const job = rows.get(claimId)
  rows.delete(claimId)
  return job
}
