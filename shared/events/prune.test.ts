import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import { systemContext } from '#database'
import { pruneEvents } from '#events'
import { sql } from '#testing'

const prune = () => pruneEvents(systemContext('function:test'))
const ids = async () => (await sql`select id from event_log order by position`).map(({ id }) => id)

/** An event that is some days old, and its position. */
async function logged(days: number, topic = 'stock-events'): Promise<{ id: string; position: number }> {
  const [row] = await sql<[{ id: string; position: number }]>`
    insert into event_log (topic, id, type, product_id, version, data, occurred_at, traceparent)
    values (${topic}, ${randomUUID()}, 'stock.adjusted', ${randomUUID()}, 1, '{}', now() - ${days}::int * interval '1 day', '')
    returning id, position`
  return row
}

const group = (name: string, position: number) =>
  sql`insert into event_groups (name, topic, position) values (${name}, 'stock-events', ${position})`

const dead = (eventId: string, version: number | null, days = 60) =>
  sql`
    insert into dead_events (id, group_name, topic, position, version, data, occurred_at, traceparent, error, attempts, event_id, died_at)
    values (${randomUUID()}, 'group', 'stock-events', 1, ${version}, '{}', now(), '', 'nonsense', 1, ${eventId},
            now() - ${days}::int * interval '1 day')`

beforeEach(async () => {
  await sql`truncate event_log, event_groups, inbox, dead_events`
})

describe('pruning the log', () => {
  it('deletes what is older than 7 days, and leaves the rest', async () => {
    await logged(8)
    await logged(8, 'product-events')
    const kept = await logged(6)
    expect(await prune()).toBe(2)
    expect(await ids()).toEqual([kept.id])
  })

  it('leaves what a group has not passed, however old', async () => {
    const passed = await logged(30)
    const next = await logged(30)
    await group('quick', next.position)
    await group('slow', passed.position)
    expect(await prune()).toBe(1)
    expect(await ids()).toEqual([next.id])
  })

  it('makes the inbox forget an event only after the log has', async () => {
    const stalled = await logged(30)
    await group('slow', 0)
    const gone = randomUUID()
    await sql`
      insert into inbox (consumer, event_id, processed_at) values
        ('slow', ${stalled.id}, now() - interval '30 days'), ('slow', ${gone}, now() - interval '10 days'),
        ('slow', ${randomUUID()}, now() - interval '8 days')`
    expect(await prune()).toBe(1)
    expect(await sql`select 1 from inbox where event_id = ${gone}`).toHaveLength(0)
    expect(await sql`select 1 from inbox`).toHaveLength(2)
  })

  it('keeps dead events, and the inbox rows of their groups: redriven, they do nothing twice', async () => {
    const eventId = randomUUID()
    await dead(eventId, 1)
    await sql`
      insert into inbox (consumer, event_id, processed_at) values
        ('group', ${eventId}, now() - interval '60 days'), ('other', ${eventId}, now() - interval '60 days')`
    expect(await prune()).toBe(1)
    expect([...(await sql`select consumer from inbox`)]).toEqual([{ consumer: 'group' }])
    expect(await sql`select 1 from dead_events`).toHaveLength(1)
  })

  it('deletes dead messages that were no events after 30 days', async () => {
    await dead('stock-events/0/1', null, 31)
    await dead('stock-events/0/2', null, 29)
    expect(await prune()).toBe(1)
    expect([...(await sql`select event_id from dead_events`)]).toEqual([{ event_id: 'stock-events/0/2' }])
  })
})
