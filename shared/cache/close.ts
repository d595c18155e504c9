import { flushInvalidations } from './invalidate.ts'
import { closeStore } from './stores/open-store.ts'

/** Sends pending invalidations, closes the connection to Redis, and drops the cache of this process. A later call opens another. */
export async function closeCache(): Promise<void> {
  await flushInvalidations()
  await closeStore()
}
