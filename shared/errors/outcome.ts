/**
 * The result of one delivery of an event or one attempt at a job: it is done, or is never tried again, or is tried again later. `isOutage`:
 * something that it needs is away or busy, which says nothing about the event itself.
 */
export type Outcome = { verdict: 'acknowledge' } | { verdict: 'reject' | 'retry'; error: string; isOutage?: boolean }
