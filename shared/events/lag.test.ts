import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import { measureEvents } from '#events'
import { metric } from '#testing/metrics'
import { closeRelay } from './outbox/relay.ts'
import { adapters } from './testing/adapters.ts'
import { acknowledge, gate, log, seen, start, stopFollowing, topic, until } from './testing/events.ts'

afterAll(async () => {
  overrideEnvironment({ EVENTS_URL: undefined })
  await closeRelay()
})

const GROUP = 'group'
const series = (name: string) => `stream_lag_${name}{group="${GROUP}",topic="${topic}"}`

/** The lag that is measured, from outside of the group, at this moment. */
async function lag() {
  await measureEvents([GROUP])
  return { events: await metric(series('events')), seconds: await metric(series('seconds')) }
}

describe.each(adapters)('the lag of a consumer group, events $name', ({ isThere, reset }) => {
  describe.skipIf(!isThere)('is', () => {
    beforeEach(reset)
    afterEach(stopFollowing)

    it('all of the log for a group that has never come, and grows with time', async () => {
      // A broker first has to load a new group's coordinator.
      await until(async () => expect(await lag()).toEqual({ events: 0, seconds: 0 }))
      await log([1, 2, 3])
      await log([1, 2])
      const { events, seconds } = await lag()
      expect(events).toBe(5)
      await sleep(1_500)
      expect((await lag()).seconds).toBeGreaterThan(seconds)
    })

    it('nothing once the group has read everything, and what came since its consumers died', async () => {
      await log([1, 2, 3])
      const follower = start(GROUP)
      await seen(follower, [1, 2, 3])
      await until(async () => expect(await lag()).toEqual({ events: 0, seconds: 0 }))
      await stopFollowing()
      await log([4, 5])
      await sleep(1_100)
      const { events, seconds } = await lag()
      expect(events).toBe(2)
      expect(seconds).toBeGreaterThanOrEqual(1)
    })

    it('what waits behind an event that hangs, and grows while it does', async () => {
      const { opened, open } = gate()
      const productId = randomUUID()
      await log([1], productId)
      const follower = start(GROUP, async ({ version }) => {
        if (version > 1) await opened
        return acknowledge
      })
      await until(async () => expect((await lag()).events).toBe(0))
      await log([2, 3], productId)
      await seen(follower, [1, 2])
      const first = await lag()
      expect(first.events).toBe(2)
      await until(async () => expect((await lag()).seconds).toBeGreaterThan(Math.max(1, first.seconds)))
      open()
      await until(async () => expect(await lag()).toEqual({ events: 0, seconds: 0 }))
    })
  })
})
