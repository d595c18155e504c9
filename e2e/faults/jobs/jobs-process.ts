import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { environment } from '#config'
import { queueFunction } from '#function'
import { runProcess, startHost } from '#function/host'
import { startJobOutbox, startQueue } from '#function/triggers'
import { runJob, runner } from '#jobs'
import { jobTypes } from '#jobs/types'
import dispatchJobs from '../../../functions/dispatch-jobs/index.ts'

// A process of dispatch-jobs, or of process-job with work that only takes time and leaves a trace.

/** A job takes up to WORK_MS, and CONCURRENCY jobs run at once, all of one type. */
const { WORK_MS = '0', CONCURRENCY = '8', ROLE } = environment()

const work = runner(z.looseObject({}), async (_, { save }) => {
  process.stdout.write('began\n')
  await sleep(Math.random() * Number(WORK_MS))
  await save([{ pid: process.pid }], 1, 1)
  return {}
})

const processJob = queueFunction({
  name: 'process-job',
  queue: 'jobs',
  summary: 'Work.',
  data: z.strictObject({ jobId: z.guid() }),
  handler: ({ attributes, data, context }) =>
    runJob(data.jobId, attributes.id, context, {
      'deliver-webhook': work,
      'export-stock': work,
      'import-products': work,
      'verify-ledger': work,
    }),
})

for (const rules of Object.values(jobTypes)) Object.assign(rules, { concurrency: Number(CONCURRENCY) })

await runProcess(() =>
  ROLE === 'dispatch-jobs' ? startHost(dispatchJobs, startJobOutbox) : startHost(processJob, startQueue),
)
