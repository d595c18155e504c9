import { describe, expect, it } from 'vitest'
import { eventRequest, type FunctionDefinition } from '#function'
import { allFunctions, call } from '#testing'
import listFunctions from './index.ts'

const definitions = await allFunctions()
const named = (name: string) => definitions.find((definition) => definition.name === name) as FunctionDefinition

interface Listed {
  name: string
  instances: object[]
}

async function listed(name: string): Promise<Listed | undefined> {
  const { body } = await call(listFunctions)
  return body.items.find((item: Listed) => item.name === name)
}

describe('list-functions', () => {
  it('gives every function by its definition, with this process as its instance', async () => {
    const { status, body } = await call(listFunctions)
    expect(status).toBe(200)
    expect(body.items.map(({ name }: Listed) => name)).toEqual(definitions.map(({ name }) => name).sort())
    for (const { instances } of body.items) {
      expect(instances).toEqual([
        {
          health: 'ok',
          inFlight: expect.any(Number),
          requests: expect.any(Number),
          errors: 0,
          p50Ms: null,
          p99Ms: null,
          startedAt: new Date(performance.timeOrigin).toISOString(),
          version: null,
        },
      ])
    }
  })

  it.each([
    ['reserve-stock', { kind: 'http', method: 'POST', path: '/v1/reservations' }, 'reservations:write'],
    ['process-job', { kind: 'queue', queue: 'jobs' }, null],
    ['detect-low-stock', { kind: 'stream', topics: ['stock-events', 'product-events'] }, null],
    ['expire-reservations', { kind: 'schedule', everyMs: 1_000 }, null],
    ['publish-events', { kind: 'outbox', everyMs: 50 }, null],
  ])('tells what calls %s, its scope, its limits and its events', async (name, trigger, scope) => {
    const { summary, limits, emits } = named(name)
    expect(await listed(name)).toMatchObject({ name, summary, trigger, scope, limits, emits })
  })

  it('counts requests and deliveries, and how long they took', async () => {
    const createLocation = named('create-location')
    const statuses: number[] = []
    for (const key of ['none', 'none', undefined]) {
      statuses.push((await call(createLocation, { body: {}, ...(key && { key }) })).status)
    }
    expect(statuses).toEqual([401, 401, 422])
    const attributes = { id: 'tick', source: 'clock', specversion: '1.0', type: 'schedule.tick' } as const
    await named('expire-reservations').app.fetch(eventRequest(attributes, {}))
    for (const [name, requests] of [
      ['create-location', 3],
      ['expire-reservations', 1],
    ] as const) {
      const [instance] = (await listed(name))?.instances ?? []
      expect(instance).toMatchObject({ requests, errors: 0, p50Ms: expect.any(Number), p99Ms: expect.any(Number) })
    }
  })

  it('is in flight itself', async () => {
    expect((await listed('list-functions'))?.instances).toMatchObject([{ inFlight: 1 }])
  })
})
