import { describe, expect, it } from 'vitest'
import { eventRequest } from '#function'
import { sql } from '#testing'
import pruneHistory from './index.ts'

async function tick() {
  const attributes = { id: 'tick', source: 'test', specversion: '1.0', type: 'schedule.tick' } as const
  const response = await pruneHistory.app.fetch(eventRequest(attributes, {}))
  return { status: response.status, body: await response.json() }
}

const addRecords = (count: number, age: string) => sql`
  insert into idempotency_keys (api_key_id, key, fingerprint, request_id, result, created_at)
  select gen_random_uuid(), 'k' || number, ''::bytea, 'r', 'null', now() - ${age}::text::interval
  from generate_series(1, ${count}::int) as number`

describe('prune-history', () => {
  it('deletes idempotency records of more than 24 hours, however many, and no younger one', async () => {
    await addRecords(3, '23 hours 59 minutes')
    await addRecords(12_000, '24 hours 1 minute')
    expect(await tick()).toEqual({ status: 200, body: { deleted: 12_000 } })
    expect(await sql`select count(*)::int as count from idempotency_keys`).toEqual([{ count: 3 }])
    expect((await tick()).body).toEqual({ deleted: 0 })
  })
})
