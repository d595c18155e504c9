import { expect, vi } from 'vitest'
import { sql } from '#testing'

/** Fails unless within half a minute the outbox is empty, these jobs have succeeded, detect-low-stock has caught up, and no event is dead. */
export async function expectNothingLeft(jobs: string[]): Promise<void> {
  await vi.waitFor(
    async () => {
      expect(await sql`select 1 from outbox`).toHaveLength(0)
      const states = await sql`select state from jobs where id = any(${jobs}::uuid[])`
      expect(states.map(({ state }) => state)).toEqual(jobs.map(() => 'succeeded'))
      const [group] = await sql`
        select (select max(position) from event_log where topic = groups.topic) - position as behind
        from event_groups as groups where name = 'detect-low-stock'`
      expect(group?.behind).toBe(0)
    },
    { timeout: 30_000, interval: 100 },
  )
  expect(await sql`select 1 from dead_events`).toHaveLength(0)
}
