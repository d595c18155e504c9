import { accepted, httpFunction } from '#function'
import { requestJob } from '#jobs'
import { Job, SubmitJobRequest } from '#jobs/schema'

export default httpFunction({
  name: 'submit-job',
  route: 'POST /v1/jobs',
  tag: 'jobs',
  scope: 'jobs:write',
  summary: 'Queue a job.',
  request: { body: SubmitJobRequest },
  responses: { 202: Job, 409: ['too_many_jobs'] },
  handler: async ({ body, context }) => {
    const job = await requestJob(body, context)
    return accepted(`/v1/jobs/${job.id}`, job)
  },
})
