import { askPrimary } from '#database'
import { LIST_AGE_MAX_MS } from './list-age.ts'
import type { WebhookEvent } from './schema.ts'

let cache: { queriedAt: number; types: Promise<ReadonlySet<string>> } | undefined

/** Whether any webhook subscribes to events of this type. The answer holds for events that were committed before the call. */
export async function hasSubscribers(type: string): Promise<boolean> {
  const now = performance.now()
  // The cache's age counts from the query, not the answer: a webhook that was committed in between may be missing in the answer.
  if (!cache || now - cache.queriedAt > LIST_AGE_MAX_MS) cache = { queriedAt: now, types: readSubscribedTypes() }
  return (await cache.types).has(type)
}

async function readSubscribedTypes(): Promise<ReadonlySet<string>> {
  const rows = await askPrimary(
    (sql) => sql<Array<{ type: WebhookEvent }>>`select distinct unnest(events) as type from webhooks where enabled`,
  )
  return new Set(rows.map(({ type }) => type))
}
