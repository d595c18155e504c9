import { httpFunction, ok } from '#function'
import { getJob } from '#jobs'
import { Job } from '#jobs/schema'

export default httpFunction({
  name: 'get-job',
  route: 'GET /v1/jobs/{jobId}',
  params: { jobId: 'job' },
  tag: 'jobs',
  scope: 'jobs:read',
  summary: 'Read a job: its state, how far it is, its result.',
  responses: { 200: Job, 404: ['job_not_found'] },
  handler: async ({ params, context }) => ok(await getJob(params.jobId, context)),
})
