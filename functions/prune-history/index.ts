import { pruneEvents } from '#events'
import { pruneIdempotencyKeys, scheduleFunction } from '#function'
import { pruneJobs } from '#jobs'

export default scheduleFunction({
  name: 'prune-history',
  everyMs: 60_000,
  summary:
    'Delete what has expired: idempotency records of 24 hours, events of 7 days, jobs of 30 days (deliveries and exports: 1).',
  handler: async ({ context }) => ({
    deleted: (await pruneIdempotencyKeys(context)) + (await pruneEvents(context)) + (await pruneJobs(context)),
  }),
})
