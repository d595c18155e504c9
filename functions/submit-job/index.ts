import * as z from 'zod'
import { accepted, httpFunction } from '#function'
import { requestJob } from '#jobs'
import { Job, resultFormats } from '#jobs/schema'
import { ExportPayload, VerifyPayload } from '#stock/schema'

/** The types that a client may request by name. */
const payloads = { 'export-stock': ExportPayload, 'verify-ledger': VerifyPayload } as const

/** One object with a check instead of a union of types, so that a client learns of everything that is wrong at once, each with its path. */
const SubmitJobRequest = z
  .strictObject({
    type: z.enum(['export-stock', 'verify-ledger']),
    payload: z.strictObject({
      format: z.enum(resultFormats).optional().describe('Of export-stock; `csv` unless told.'),
    }),
  })
  .superRefine(({ type, payload }, context) => {
    const { error } = payloads[type].safeParse(payload)
    for (const issue of error?.issues ?? []) {
      context.addIssue({ ...issue, path: ['payload', ...issue.path] })
    }
  })

export default httpFunction({
  name: 'submit-job',
  route: 'POST /v1/jobs',
  tag: 'jobs',
  scope: 'jobs:write',
  summary: 'Queue a job.',
  request: { body: SubmitJobRequest },
  responses: { 202: Job, 409: ['too_many_jobs'] },
  handler: async ({ body: { type, payload }, context }) => {
    const job = await requestJob({ type, payload: payloads[type].parse(payload) }, context)
    return accepted(`/v1/jobs/${job.id}`, job)
  },
})
