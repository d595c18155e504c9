import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import { sql } from '#testing'
import { acknowledge, gate, log, seen, start, stopFollowing, topic, until } from '../testing/events.ts'

const cursorOf = async (group: string) =>
  (await sql`select position, attempts, holder, held_until from event_groups where name = ${group}`)[0]
const lastPosition = async () => (await sql`select max(position) as position from event_log`)[0]?.position

beforeEach(async () => {
  await sql`truncate event_log, event_groups, dead_events`
})
afterEach(stopFollowing)

it('says so where there is no adapter for the URL', () => {
  overrideEnvironment({ EVENTS_URL: 'amqp://127.0.0.1' })
  expect(() => start('group')).toThrow('EVENTS_URL: must be postgres:')
  overrideEnvironment({ EVENTS_URL: undefined })
})

describe('an event of the embedded log that is not dealt with', () => {
  it('is put among the dead events whole', async () => {
    const follower = start('group', ({ version }) =>
      version === 2 ? { verdict: 'reject', error: 'validation_failed: nonsense' } : acknowledge,
    )
    await log([1, 2, 3])
    await seen(follower, [1, 2, 3])
    const [event] = await sql`select id, position, product_id, data from event_log where version = 2`
    const dead =
      await sql`select group_name, topic, position, event_id, product_id, version, data, error, attempts from dead_events`
    expect([...dead]).toEqual([
      {
        group_name: 'group',
        topic,
        position: event?.position,
        event_id: event?.id,
        product_id: event?.product_id,
        version: 2,
        data: event?.data,
        error: 'validation_failed: nonsense',
        attempts: 1,
      },
    ])
  })

  it('is dead after ten attempts, wherever they were made', async () => {
    await log([1, 2])
    const failing = start('group', () => ({ verdict: 'retry', error: 'still not' }))
    await until(async () => expect((await cursorOf('group'))?.attempts).toBeGreaterThan(0))
    await failing.stop()
    await sql`update event_groups set attempts = 9`
    const follower = start('group', ({ version }) =>
      version === 1 ? { verdict: 'retry', error: 'still not' } : acknowledge,
    )
    await seen(follower, [1, 2])
    expect([...(await sql`select version, error, attempts from dead_events`)]).toEqual([
      { version: 1, error: 'still not', attempts: 10 },
    ])
  })
})

describe('followers of one group of the embedded log', () => {
  it('let go of its cursor when they are stopped', async () => {
    await log([1, 2])
    const { opened, open } = gate()
    const follower = start('group', () => opened.then(() => acknowledge))
    await seen(follower, [1])
    const stopping = follower.stop()
    open()
    await stopping
    const [event] = await sql`select position from event_log where version = 1`
    expect(await cursorOf('group')).toMatchObject({ position: event?.position, holder: null })
  })

  it('are replaced when they show no sign of life, and what they still do is not recorded', async () => {
    await log([1, 2])
    const { opened, open } = gate()
    const frozen = start('group', ({ version }) => (version === 1 ? opened.then(() => acknowledge) : acknowledge))
    await seen(frozen, [1])
    await sql`update event_groups set held_until = now() - interval '1 second'`
    const successor = start('group')
    await seen(successor, [1, 2])
    await until(async () => expect(await cursorOf('group')).toMatchObject({ position: await lastPosition() }))
    const { holder } = (await cursorOf('group')) ?? {}
    open()
    await frozen.stop()
    expect(await cursorOf('group')).toMatchObject({ position: await lastPosition(), holder })
  })
})
