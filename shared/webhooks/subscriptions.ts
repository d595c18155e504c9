import { primary } from '#database'
import { LIST_AGE_MAX_MS } from './list-age.ts'
import type { WebhookEvent } from './schema.ts'

let list: { askedAt: number; awaited: Promise<ReadonlySet<string>> } | undefined

/** Whether some webhook asks for events of this type. It counts for events that were committed before it was asked. */
export async function isAwaited(type: string): Promise<boolean> {
  const now = performance.now()
  // By when it was asked for, not by when it came: what was committed between the two may not be in it.
  if (!list || now - list.askedAt > LIST_AGE_MAX_MS) list = { askedAt: now, awaited: readAwaited() }
  return (await list.awaited).has(type)
}

async function readAwaited(): Promise<ReadonlySet<string>> {
  const rows = await primary()<
    Array<{ type: WebhookEvent }>
  >`select distinct unnest(events) as type from webhooks where enabled`
  return new Set(rows.map(({ type }) => type))
}
