import * as z from 'zod'
import { queueFunction } from '#function'
import { runJob } from '#jobs'
import { productJobs } from '#products/jobs'
import { stockJobs } from '#stock/jobs'
import { webhookJobs } from '#webhooks/jobs'

const runners = { ...productJobs, ...stockJobs, ...webhookJobs }

export default queueFunction({
  name: 'process-job',
  queue: 'jobs',
  summary: 'Run a job by its type.',
  data: z.strictObject({ jobId: z.guid().toLowerCase() }),
  // The longest job reads one snapshot, which lasts 5 minutes at most.
  limits: { timeoutMs: 360_000 },
  emits: ['product.created', 'product.updated', 'stock.adjusted', 'stock.expired'],
  handler: ({ attributes, data, context }) => runJob(data.jobId, attributes.id, context, runners),
})
