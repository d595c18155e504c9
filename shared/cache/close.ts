import { flushInvalidations } from './invalidate.ts'
import { closeStore } from './stores/open-store.ts'

/** Sends the invalidations that wait, closes what is open to Redis, and forgets what this process has cached. A later call opens it anew. */
export async function closeCache(): Promise<void> {
  await flushInvalidations()
  await closeStore()
}
