import * as z from 'zod'
import { queueFunction } from '#function'
import { runProcess, startHost } from '#function/host'
import { startQueue } from '#function/triggers'
import { runJob, runner } from '#jobs'
import { jobTypes } from '#jobs/types'

/** Jobs in flight at once. */
const CONCURRENCY = 512

const nothing = runner(z.looseObject({}), async () => ({}))

/** process-job, with work that does nothing. */
const definition = queueFunction({
  name: 'process-job',
  queue: 'jobs',
  summary: 'Run a job that does nothing.',
  data: z.strictObject({ jobId: z.guid() }),
  handler: ({ attributes, data, context }) =>
    runJob(data.jobId, attributes.id, context, {
      'deliver-webhook': nothing,
      'export-stock': nothing,
      'import-products': nothing,
      'verify-ledger': nothing,
    }),
})

for (const rules of Object.values(jobTypes)) Object.assign(rules, { concurrency: CONCURRENCY })

await runProcess(() => startHost(definition, startQueue))
