import { environment, overrideEnvironment } from '#config'
import { closeDatabase } from '#database'

/** Runs `work`, which is code of the service, on the database at `url` only: without a replica, and without a cache that others read. */
export async function atDatabase<Result>(url: string, work: () => Promise<Result>): Promise<Result> {
  const { DATABASE_URL, DATABASE_REPLICA_URL, CACHE_URL } = environment()
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: url, DATABASE_REPLICA_URL: undefined, CACHE_URL: undefined })
  try {
    return await work()
  } finally {
    await closeDatabase()
    overrideEnvironment({ DATABASE_URL, DATABASE_REPLICA_URL, CACHE_URL })
  }
}
