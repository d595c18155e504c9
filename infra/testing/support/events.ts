import { newId } from '#ids'
import { sql } from './engines/database.ts'

/** The default values of a dead event. */
const usual = {
  group: 'detect-low-stock',
  topic: 'stock-events',
  type: 'stock.adjusted',
  productId: '01890a5d-ac96-774b-bcce-b302099a8057',
  version: 1 as number | null,
  error: 'validation_failed: nonsense',
}

/** Makes a dead event, as a consumer group or the relay records it. Returns the ids of the record and of the event. */
export async function deadEvent(event: Partial<typeof usual> = {}): Promise<{ id: string; eventId: string }> {
  const { group, topic, type, productId, version, error } = { ...usual, ...event }
  const [id, eventId] = [newId(), newId()]
  await sql`
    insert into dead_events (id, group_name, topic, position, type, product_id, version, data, occurred_at, traceparent, error,
                             attempts, event_id)
    values (${id}, ${group}, ${topic}, 1, ${type}, ${productId}, ${version}, ${JSON.stringify({ productId, version })}::text::json, now(),
            '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', ${error}, 1, ${eventId})`
  return { id, eventId }
}
