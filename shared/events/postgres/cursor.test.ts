import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { sql } from '#testing'
import { keepCursor, takeCursor } from './cursor.ts'

const secondsLeft = async () =>
  (await sql`select extract(epoch from held_until - clock_timestamp())::float8 as seconds from event_groups`)[0]
    ?.seconds

it('a cursor is held for no longer than a sign of life lasts from now, though the clock was ahead when it was given', async () => {
  const [holder, other] = [randomUUID(), randomUUID()]
  const dead = await takeCursor('group', 'topic', holder)
  expect(dead).toBeDefined()
  await sql`update event_groups set held_until = clock_timestamp() + interval '1 hour'`
  expect(await takeCursor('group', 'topic', other)).toBeUndefined()
  expect(await secondsLeft()).toBeLessThanOrEqual(15)
  expect(await secondsLeft()).toBeGreaterThan(5)
  // As long is waited for the one that holds it, which may be alive.
  if (dead) await keepCursor(dead)
  await sql`update event_groups set held_until = clock_timestamp()`
  expect(await takeCursor('group', 'topic', other)).toMatchObject({ holder: other, isLeftBehind: true })
})
