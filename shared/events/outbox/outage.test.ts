import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemContext } from '#database'
import type { Outcome } from '#errors'
import { type Following, follow, relayOutbox } from '#events'
import { sql } from '#testing'
import { ATTEMPTS_MAX } from '../delivery/waits.ts'
import { adapters } from '../testing/adapters.ts'
import { newEvent } from '../testing/events.ts'
import { publish } from './outbox.ts'

// There is no wait between attempts here, however many outages came before.
vi.mock('../delivery/waits.ts', async (original) => ({
  ...(await original<typeof import('../delivery/waits.ts')>()),
  backoffMs: () => 1,
}))

const until = (check: () => unknown) => vi.waitFor(check, { timeout: 30_000, interval: 20 })
let following: Following | undefined

describe.each(adapters)('events $name', ({ isThere, reset, deadEvents, isThrough }) => {
  beforeEach(async () => {
    if (isThere) await reset()
  })
  afterEach(() => following?.stop())

  /** Follows with these outcomes one after the other, then with success. Returns a function that gives the number of attempts. */
  async function tryWith(...outcomes: Outcome[]): Promise<() => number> {
    let tries = 0
    await publish(sql, [newEvent(randomUUID(), 1)])
    await relayOutbox(systemContext('function:test'))
    const deliver = async (): Promise<Outcome> => outcomes[tries++] ?? { verdict: 'acknowledge' }
    following = follow({ topics: ['stock-events'], group: 'group', deliver })
    return () => tries
  }

  const times = (count: number, outcome: Outcome) => Array.from({ length: count }, () => outcome)
  const outage: Outcome = { verdict: 'retry', error: 'unavailable: the database is away', isOutage: true }
  const failure: Outcome = { verdict: 'retry', error: 'internal: a defect' }

  it.skipIf(!isThere)('are tried for as long as what they need is away', async () => {
    const tries = await tryWith(...times(3 * ATTEMPTS_MAX, outage))
    await until(() => expect(tries()).toBe(3 * ATTEMPTS_MAX + 1))
    await until(async () => expect(await isThrough('stock-events', 'group')).toBe(true))
    expect(await deadEvents('stock-events', 'group')).toEqual([])
  })

  it.skipIf(!isThere)('have all of their attempts left after that', async () => {
    const tries = await tryWith(...times(2 * ATTEMPTS_MAX, outage), ...times(ATTEMPTS_MAX, failure))
    await until(async () =>
      expect(await deadEvents('stock-events', 'group')).toEqual([
        { version: 1, error: 'internal: a defect', attempts: ATTEMPTS_MAX },
      ]),
    )
    expect(tries()).toBe(3 * ATTEMPTS_MAX)
  })
})
