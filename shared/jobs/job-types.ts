import type { Scope } from '#database'

/** How the queue treats the jobs of a type. Their work is defined in their domain's `jobs.ts`. */
export interface JobRules {
  /** Attempts before the job is dead. */
  attemptsMax: number
  /** An attempt that takes longer has failed. Less than the time-out of the function that runs it. */
  timeoutMs: number
  /** Jobs of this type that a process runs at once. */
  concurrency: number
  /** The scope needed to request such a job and to read its result, in addition to the routes' own scopes. */
  scope?: Scope
  /** The most jobs that one API key may have requested and that are not over, and the plural that the refusal of another job uses. */
  open?: { max: number; plural: string }
  /** The number of days for which a succeeded job and its result are kept. */
  keptDays: number
}

/** A month for jobs that people come back to. A day for large results, or for a type with millions of jobs a day. */
const KEPT_DAYS = 30
const KEPT_DAYS_SHORT = 1

/** The longest jobs read one snapshot, which lasts 5 minutes at most. */
const SNAPSHOT_MS = 330_000

/** All types of jobs. Exports and audits use up to two database connections each, of ten. */
export const jobTypes = {
  // The attempts take some 9 minutes; then the job waits for an operator. A receiver may take 15 s to answer.
  'deliver-webhook': { attemptsMax: 10, timeoutMs: 20_000, concurrency: 8, keptDays: KEPT_DAYS_SHORT },
  'export-stock': {
    attemptsMax: 5,
    timeoutMs: SNAPSHOT_MS,
    concurrency: 2,
    scope: 'stock:read',
    // Each export has the whole stock: 50 MB and more for a shop of a million products.
    open: { max: 4, plural: 'exports' },
    keptDays: KEPT_DAYS_SHORT,
  },
  // A longer import continues in the next attempt, from its last step.
  'import-products': { attemptsMax: 5, timeoutMs: SNAPSHOT_MS, concurrency: 2, keptDays: KEPT_DAYS },
  'verify-ledger': { attemptsMax: 5, timeoutMs: SNAPSHOT_MS, concurrency: 2, scope: 'admin', keptDays: KEPT_DAYS },
} as const satisfies Record<string, JobRules>
export type JobType = keyof typeof jobTypes

export const isJobType = (type: string): type is JobType => Object.hasOwn(jobTypes, type)

/** The scope that a type of job needs. A type that this version does not know needs `admin`. */
export function scopeOf(type: string): Scope | undefined {
  if (!isJobType(type)) return 'admin'
  const { scope }: JobRules = jobTypes[type]
  return scope
}
