import { flushInvalidations } from './invalidate.ts'
import { closeStore } from './stores/open-store.ts'
import { closeBuckets } from './token-bucket.ts'

/** Sends the invalidations that wait, closes what is open to Redis, and forgets what this process has cached and counted. A later call opens it anew. */
export async function closeCache(): Promise<void> {
  await flushInvalidations()
  await Promise.all([closeStore(), closeBuckets()])
}
