import { accepted, httpFunction, Upload } from '#function'
import { submitJob } from '#jobs'
import { Job } from '#jobs/schema'

export default httpFunction({
  name: 'import-products',
  route: 'POST /v1/products/imports',
  scope: 'products:write',
  summary: 'Queue the import of a file of products, as NDJSON or CSV, up to 100,000 rows.',
  request: { body: Upload, contentTypes: ['application/x-ndjson', 'text/csv'] },
  responses: { 202: Job, 413: ['too_large'], 415: ['unsupported_media_type'] },
  // A file is in memory while it arrives, which may take as long as the server lets it: four make 128 MiB.
  limits: { maxBodyBytes: 32 * 1024 * 1024, inFlight: 4, timeoutMs: 120_000 },
  handler: async ({ body, caller }) => {
    const format = body.type === 'text/csv' ? 'csv' : 'ndjson'
    const job = await submitJob({ type: 'import-products', payload: { format }, input: body.blocks }, caller)
    return accepted(`/v1/jobs/${job.id}`, job)
  },
})
