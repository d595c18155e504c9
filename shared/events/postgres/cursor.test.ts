import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { sql } from '#testing'
import { renewCursor, takeCursor } from './cursor.ts'

const secondsLeft = async () =>
  (await sql`select extract(epoch from held_until - clock_timestamp())::float8 as seconds from event_groups`)[0]
    ?.seconds

it('a cursor is leased for no longer than a lease lasts from now, even where the clock was ahead when it began', async () => {
  const [holder, other] = [randomUUID(), randomUUID()]
  const dead = await takeCursor('group', 'topic', holder)
  expect(dead).toBeDefined()
  await sql`update event_groups set held_until = clock_timestamp() + interval '1 hour'`
  expect(await takeCursor('group', 'topic', other)).toBeUndefined()
  expect(await secondsLeft()).toBeLessThanOrEqual(15)
  expect(await secondsLeft()).toBeGreaterThan(5)
  // The holder may be alive, so it keeps the cursor until the lease ends.
  if (dead) await renewCursor(dead)
  await sql`update event_groups set held_until = clock_timestamp()`
  expect(await takeCursor('group', 'topic', other)).toMatchObject({ holder: other, afterCrash: true })
})
