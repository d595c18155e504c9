import * as z from 'zod'
import { anyJson } from '#input'

export const resultFormats = ['csv', 'ndjson'] as const
export type ResultFormat = (typeof resultFormats)[number]

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
