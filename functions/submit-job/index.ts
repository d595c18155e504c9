import { accepted, httpFunction } from '#function'
import { submitJob } from '#jobs'
import { Job, SubmitJobRequest } from '#jobs/schema'

export default httpFunction({
  name: 'submit-job',
  route: 'POST /v1/jobs',
  scope: 'jobs:write',
  summary: 'Queue a job.',
  request: { body: SubmitJobRequest },
  responses: { 202: Job },
  handler: async ({ body, caller }) => {
    const job = await submitJob(body, caller)
    return accepted(`/v1/jobs/${job.id}`, job)
  },
})
