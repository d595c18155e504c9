import { pruneIdempotencyKeys, scheduleFunction } from '#function'

export default scheduleFunction({
  name: 'prune-history',
  everyMs: 60_000,
  summary: 'Delete idempotency records that are older than their 24 hours.',
  handler: async ({ caller }) => ({ deleted: await pruneIdempotencyKeys(caller) }),
})
