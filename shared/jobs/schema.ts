import * as z from 'zod'

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
}

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
  },
  'export-stock': {
    payload: z.strictObject({ format: z.enum(resultFormats).default('csv') }),
    attemptsMax: 5,
    timeoutMs: SNAPSHOT_MS,
    concurrency: 2,
  },
  // One that takes longer goes on in the next attempt from its last step.
  'import-products': {
    payload: z.strictObject({ format: z.enum(resultFormats) }),
    attemptsMax: 5,
    timeoutMs: SNAPSHOT_MS,
    concurrency: 2,
  },
  'verify-ledger': { payload: z.strictObject({}), attemptsMax: 5, timeoutMs: SNAPSHOT_MS, concurrency: 2 },
} as const satisfies Record<string, JobRules>
export type JobType = keyof typeof jobTypes
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
    result: z.json().describe('null until it has succeeded.'),
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
    payload: z.json(),
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
