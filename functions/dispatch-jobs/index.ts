import { outboxFunction } from '#function'
import { dispatchJobs } from '#jobs'

export default outboxFunction({
  name: 'dispatch-jobs',
  outbox: 'jobs',
  // Adds 25 ms to a job's way on average, at the cost of twenty small queries a second while nothing happens.
  everyMs: 50,
  summary: 'Send waiting jobs to the broker, if there is one.',
  handler: async ({ context }) => ({ dispatched: await dispatchJobs(context) }),
})
