import * as z from 'zod'
import { queueFunction } from '#function'
import { runJob } from '#jobs'
import { importProducts } from '#products'
import { auditStock, exportStock } from '#stock'
import { deliverWebhook } from '#webhooks'

export default queueFunction({
  name: 'process-job',
  queue: 'jobs',
  summary: 'Run a job by its type.',
  data: z.strictObject({ jobId: z.guid().toLowerCase() }),
  // The longest job reads one snapshot, which lasts 5 minutes at most.
  limits: { timeoutMs: 360_000 },
  handler: ({ attributes, data, context }) =>
    runJob(data.jobId, attributes.id, context, {
      'verify-ledger': (_, run) => auditStock(run.progress),
      'deliver-webhook': (payload, run) => deliverWebhook(payload, run.context),
      'import-products': importProducts,
      'export-stock': async ({ format }, run) => ({ format, ...(await exportStock(run.save)) }),
    }),
})
