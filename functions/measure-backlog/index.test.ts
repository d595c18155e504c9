import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import { eventRequest } from '#function'
import { renderMetrics } from '#telemetry'
import { sql } from '#testing'
import { allFunctions } from '#testing/functions'
import { metric } from '#testing/metrics'
import measureBacklog, { groups } from './index.ts'

async function tick(): Promise<number> {
  const attributes = { id: 'tick', source: 'test', specversion: '1.0', type: 'schedule.tick' } as const
  return (await measureBacklog.app.fetch(eventRequest(attributes, {}))).status
}

const addEvents = (count: number, age: string) => sql`
  insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
  select gen_random_uuid(), 'stock-events', 'stock.adjusted', gen_random_uuid(), 1, '{}', now() - ${age}::text::interval, 'trace'
  from generate_series(1, ${count}::int)`

const addJob = (type: string, state: string, dueSince = '0') => sql`
  insert into jobs (id, type, payload, state, attempts_max, run_at, lease, locked_until, actor, traceparent)
  values (${randomUUID()}, ${type}, '{}', ${state}, 1, now() - ${dueSince}::text::interval,
          ${state === 'running' ? 'lease' : null}, ${state === 'running' ? new Date() : null}, 'test', 'trace')`

describe('measure-backlog', () => {
  beforeEach(async () => {
    await sql`truncate outbox, event_log, dead_events, jobs cascade`
  })

  it('knows every consumer group', async () => {
    const followers = (await allFunctions()).flatMap(({ trigger }) =>
      trigger.kind === 'stream' ? [trigger.group] : [],
    )
    expect(groups).toEqual(followers.sort())
  })

  it('tells how many events wait to be published, and for how long, once it has looked', async () => {
    expect(await renderMetrics()).not.toMatch(/^outbox_(events|oldest_age_seconds) /m)
    await addEvents(3, '90 seconds')
    expect(await tick()).toBe(204)
    expect(await metric('outbox_events')).toBe(3)
    expect(await metric('outbox_oldest_age_seconds')).toBeGreaterThanOrEqual(90)
    await sql`truncate outbox`
    await tick()
    expect([await metric('outbox_events'), await metric('outbox_oldest_age_seconds')]).toEqual([0, 0])
  })

  it('counts no further than it says', async () => {
    await addEvents(10_500, '1 second')
    await tick()
    expect(await metric('outbox_events')).toBe(10_000)
  })

  it('tells of jobs by type and state, and how long the oldest has been due', async () => {
    await addJob('export-stock', 'queued', '60 seconds')
    await addJob('export-stock', 'retrying', '-60 seconds')
    await addJob('deliver-webhook', 'retrying', '-60 seconds')
    await addJob('deliver-webhook', 'running')
    // One of the others was redriven, and one had unfit input: neither needs an operator.
    for (let count = 0; count < 4; count++) await addJob('verify-ledger', 'dead')
    await sql`
      insert into dead_letters (id, job_id, error, attempts, redriven_at, redriven_by)
      select gen_random_uuid(), id, 'failed', 1, case when number = 3 then now() end, case when number = 3 then 'test' end
      from (select id, row_number() over (order by id) as number from jobs where state = 'dead') as dead where number <= 3`
    await addJob('unknown-type', 'queued')
    await tick()
    expect(await metric('jobs_unfinished{type="export-stock",state="queued"}')).toBe(1)
    expect(await metric('jobs_unfinished{type="export-stock",state="retrying"}')).toBe(1)
    expect(await metric('jobs_unfinished{type="deliver-webhook",state="running"}')).toBe(1)
    expect(await metric('jobs_dead{type="verify-ledger"}')).toBe(2)
    expect(await metric('jobs_oldest_due_seconds{type="export-stock"}')).toBeGreaterThanOrEqual(60)
    expect(await metric('jobs_oldest_due_seconds{type="deliver-webhook"}')).toBe(0)
    expect(await renderMetrics()).not.toContain('unknown-type')
  })

  it('tells of dead events by group, and of products that are low or out', async () => {
    const [first = '', second = ''] = groups
    for (const group of [first, first, second, 'publish-events', 'another']) {
      await sql`
        insert into dead_events (id, event_id, group_name, topic, position, data, occurred_at, traceparent, error, attempts)
        values (${randomUUID()}, ${randomUUID()}, ${group}, 'stock-events', 1, '{}', now(), 'trace', 'unfit', 1)`
    }
    await sql`
      with added as (
        insert into products (id, sku, name)
        select gen_random_uuid(), 'LOW-' || number, 'x' from generate_series(1, 6) as number returning id, sku
      )
      insert into stock_alerts (product_id, state, version)
      select id, case when sku < 'LOW-3' then 'low' when sku < 'LOW-6' then 'out' else 'none' end, 1 from added`
    await tick()
    const dead = (group: string) => metric(`stream_dead_events{group="${group}"}`)
    expect([await dead(first), await dead(second), await dead('publish-events')]).toEqual([2, 1, 1])
    expect(await metric('stock_low_products{state="low"}')).toBe(2)
    expect(await metric('stock_low_products{state="out"}')).toBe(3)
  })

  it('says nothing of what it can’t measure, rather than what was, and all again once it can', async () => {
    await addEvents(3, '1 second')
    await tick()
    await sql`alter table outbox rename to away`
    expect(await tick()).toBe(500)
    const text = await renderMetrics()
    expect(text).not.toMatch(/^outbox_events /m)
    expect(text).toMatch(/^jobs_dead\{/m)
    await sql`alter table away rename to outbox`
    expect(await tick()).toBe(204)
    expect(await metric('outbox_events')).toBe(3)
  })
})
