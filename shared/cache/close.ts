import { forgetPending } from './invalidate.ts'
import { closeStore } from './open-store.ts'
import { closeBuckets } from './token-bucket.ts'

/** Closes what is open to Redis, and forgets what this process has cached and counted. A later call opens it anew. */
export async function closeCache(): Promise<void> {
  forgetPending()
  await Promise.all([closeStore(), closeBuckets()])
}
