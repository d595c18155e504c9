import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { follow, type LoggedEvent } from '#events'
import { blocked, call, deadEvent, expectNoEffect, functionNamed, inRivalSession, sql } from '#testing'
import redriveDeadEvents from './index.ts'

const listDeadEvents = await functionNamed('list-dead-events')

const listed = async () => (await call(listDeadEvents)).body.items as Array<{ id: string; eventId: string }>
const redrive = (body: object = {}) => call(redriveDeadEvents, { body })

beforeEach(async () => {
  await sql`truncate dead_events, outbox`
})

let stop = async () => {}
afterEach(() => stop())

/** The ids of the events that a group gets from now on. */
function delivered(group: string): string[] {
  const ids: string[] = []
  const following = follow({
    topics: ['stock-events'],
    group,
    async deliver({ id }: LoggedEvent) {
      ids.push(id)
      return { verdict: 'acknowledge' }
    },
  })
  stop = following.stop
  return ids
}

describe('redrive-dead-events', () => {
  it('has every dead event delivered again, under its id, to its group', async () => {
    const events = [await deadEvent({ version: 1 }), await deadEvent({ version: 2 })]
    const other = await deadEvent({ group: 'notify-webhooks' })
    expect(await redrive()).toMatchObject({ status: 200, body: { redriven: 3 } })
    expect(await listed()).toEqual([])
    const ids = delivered('detect-low-stock')
    await vi.waitFor(() => expect(ids).toEqual(events.map(({ eventId }) => eventId)), { timeout: 10_000 })
    await vi.waitFor(async () =>
      expect([...(await sql`select event_id as id from dead_events`)]).toEqual([{ id: other.eventId }]),
    )
  })

  it('redrives those that are named, and passes over what is no dead event any more, or never was', async () => {
    const [one, two] = [await deadEvent(), await deadEvent()]
    const ids = [one.id.toUpperCase(), crypto.randomUUID()]
    expect((await redrive({ ids })).body).toEqual({ redriven: 1 })
    expect((await redrive({ ids })).body).toEqual({ redriven: 0 })
    expect((await listed()).map(({ id }) => id)).toEqual([two.id])
  })

  it('puts what the log refused back into the outbox, in the order of its product', async () => {
    const late = await deadEvent({ group: 'publish-events', version: 2 })
    const early = await deadEvent({ group: 'publish-events', version: 1 })
    expect((await redrive()).body).toEqual({ redriven: 2 })
    expect([...(await sql`select id, version from outbox order by sequence`)]).toEqual([
      { id: early.eventId, version: 1 },
      { id: late.eventId, version: 2 },
    ])
    expect(await sql`select 1 from dead_events`).toHaveLength(0)
  })

  it('leaves a message that was no event where it is', async () => {
    const { id } = await deadEvent({ version: null })
    expect((await redrive({ ids: [id] })).body).toEqual({ redriven: 0 })
    expect(await listed()).toHaveLength(1)
  })

  it('redrives an event once, however many ask at the same time', async () => {
    await deadEvent()
    await deadEvent({ group: 'publish-events' })
    const asking = await inRivalSession(async (rival) => {
      await rival`select 1 from dead_events for update`
      const requests = [redrive(), redrive(), redrive(), redrive()]
      await blocked(requests.length)
      return requests
    })
    const answers = await Promise.all(asking)
    expect(answers.map(({ body }) => body.redriven).sort()).toEqual([0, 0, 0, 2])
    expect(await sql`select 1 from outbox`).toHaveLength(1)
  })

  it('answers a repeat under its idempotency key as before, and redrives nothing more', async () => {
    await deadEvent()
    const request = { body: {}, headers: { 'idempotency-key': 'redrive-1' } }
    expect((await call(redriveDeadEvents, request)).body).toEqual({ redriven: 1 })
    await deadEvent()
    const again = await expectNoEffect(() => call(redriveDeadEvents, request))
    expect(again.body).toEqual({ redriven: 1 })
    expect(await listed()).toHaveLength(1)
  })

  it.each([
    ['ids', { ids: [] }],
    ['ids.0', { ids: ['x'] }],
    ['ids', { ids: Array.from({ length: 1_001 }, () => crypto.randomUUID()) }],
    ['all', { all: true }],
  ])('refuses a wrong %s', async (path, body) => {
    expect(await redrive(body)).toMatchObject({ status: 422, body: { errors: [{ path }] } })
  })
})
