import * as z from 'zod'

export const resultFormats = ['csv', 'ndjson'] as const
export type ResultFormat = (typeof resultFormats)[number]

/** Every type of job: what it is given, and how often it is tried before it is dead. */
export const jobTypes = {
  'export-stock': { payload: z.strictObject({ format: z.enum(resultFormats).default('csv') }), attemptsMax: 5 },
  'verify-ledger': { payload: z.strictObject({}), attemptsMax: 5 },
} as const satisfies Record<string, { payload: z.ZodType; attemptsMax: number }>
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
