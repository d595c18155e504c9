import * as z from 'zod'
import type { Scope } from '#database'
import { anyJson } from '#input'

export const resultFormats = ['csv', 'ndjson'] as const
export type ResultFormat = (typeof resultFormats)[number]

/** No event comes near: the largest tells of a product with the longest texts and attributes, 60 kB. */
const EVENT_DATA_BYTES_MAX = 128 * 1024

/** A CloudEvent, as a webhook gets it. */
const SentEvent = z.strictObject({
  id: z.string(),
  source: z.string(),
  type: z.string(),
  subject: z.string().optional(),
  time: z.iso.datetime({ offset: true }).optional(),
  data: z
    .looseObject({})
    .refine((data) => Buffer.byteLength(JSON.stringify(data)) <= EVENT_DATA_BYTES_MAX, 'must not be larger'),
})

interface JobRules {
  payload: z.ZodType
  /** How often it is tried before it is dead. */
  attemptsMax: number
  /** An attempt that takes longer has failed. Less than the time-out of the function that runs it. */
  timeoutMs: number
  /** Jobs of this type that a process runs at once. */
  concurrency: number
  /** What it does is another scope's than that of the routes for jobs: to ask for it, and to read what came of it, takes this one too. */
  scope?: Scope
  /** Days for which it can be asked for once it has succeeded. */
  keptDays: number
}

/** A month is for people to come back; what is large, or one of millions a day, is there for a day. */
const KEPT_DAYS = 30
const KEPT_DAYS_SHORT = 1
/** Each is the whole stock: 50 MB and more for a shop of a million products. */
export const OPEN_EXPORTS_MAX = 4

/** The longest reads one snapshot, which lasts 5 minutes at most. */
const SNAPSHOT_MS = 330_000

/** Every type of job. Exports and audits hold up to two database connections each, of ten. */
export const jobTypes = {
  // Some 9 minutes of attempts, then it waits for whoever redrives it. A receiver may take 15 s to answer.
  'deliver-webhook': {
    payload: z.strictObject({ webhookId: z.guid(), event: SentEvent }),
    attemptsMax: 10,
    timeoutMs: 20_000,
    concurrency: 8,
    keptDays: KEPT_DAYS_SHORT,
  },
  'export-stock': {
    payload: z.strictObject({ format: z.enum(resultFormats).default('csv') }),
    attemptsMax: 5,
    timeoutMs: SNAPSHOT_MS,
    concurrency: 2,
    scope: 'stock:read',
    keptDays: KEPT_DAYS_SHORT,
  },
  // One that takes longer goes on in the next attempt from its last step.
  'import-products': {
    payload: z.strictObject({
      format: z.enum(resultFormats),
      // Whose export the file is.
      shop: z.strictObject({ name: z.enum(['shopify', 'woocommerce']), currency: z.string() }).optional(),
    }),
    attemptsMax: 5,
    timeoutMs: SNAPSHOT_MS,
    concurrency: 2,
    keptDays: KEPT_DAYS,
  },
  'verify-ledger': {
    payload: z.strictObject({}),
    attemptsMax: 5,
    timeoutMs: SNAPSHOT_MS,
    concurrency: 2,
    scope: 'admin',
    keptDays: KEPT_DAYS,
  },
} as const satisfies Record<string, JobRules>
export type JobType = keyof typeof jobTypes

/** What it takes to ask for a job and to read its result, besides the route's own scope. Of a type that is not known here: everything. */
export function scopeOf(type: string): Scope | undefined {
  if (!Object.hasOwn(jobTypes, type)) return 'admin'
  const { scope }: JobRules = jobTypes[type as JobType]
  return scope
}
export type PayloadOf<Type extends JobType> = z.output<(typeof jobTypes)[Type]['payload']>

/** One object with a check, not a union of types: a client learns of everything that is wrong at once, by its path. */
export const SubmitJobRequest = z
  .strictObject({
    type: z.enum(['export-stock', 'verify-ledger']),
    payload: z.strictObject({
      format: z.enum(resultFormats).optional().describe('Of export-stock; `csv` unless told.'),
    }),
  })
  .superRefine(({ type, payload }, context) => {
    const { error } = jobTypes[type].payload.safeParse(payload)
    for (const issue of error?.issues ?? []) {
      context.addIssue({ ...issue, path: ['payload', ...issue.path] })
    }
  })

export const jobStates = ['queued', 'running', 'succeeded', 'retrying', 'dead'] as const

const Count = z.number().int().nonnegative()

export const Job = z
  .object({
    id: z.uuid(),
    type: z.string(),
    state: z.enum(jobStates),
    attempts: Count,
    progress: z.object({ done: Count, total: Count.describe('0 until it is known.') }),
    result: anyJson.describe('null until it has succeeded, and for a key that may not read the result of such a job.'),
    error: z.string().nullable().describe('Of the last attempt, if that failed.'),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'Job' })
export type Job = z.infer<typeof Job>

export const DeadLetter = z
  .object({
    id: z.uuid(),
    jobId: z.uuid(),
    type: z.string(),
    payload: anyJson,
    error: z.string(),
    attempts: Count,
    diedAt: z.iso.datetime(),
  })
  .meta({ id: 'DeadLetter' })
export type DeadLetter = z.infer<typeof DeadLetter>

export const RedriveRequest = z.strictObject({
  ids: z
    .array(z.guid().toLowerCase())
    .min(1)
    .max(1_000)
    .optional()
    .describe('Dead letters; without it all of them, the oldest 10,000 at most.'),
})
