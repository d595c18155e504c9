import { flushInvalidations } from './invalidate.ts'
import { closeStore } from './stores/open-store.ts'

/** Sends pending invalidations, closes the connection to Redis, and drops this process's cache. A later call opens another cache. */
export async function closeCache(): Promise<void> {
  await flushInvalidations()
  await closeStore()
}
