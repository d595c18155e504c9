import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { closeRelay } from '#events'
import { eventRequest, type FunctionDefinition } from '#function'
import { closeJobs } from '#jobs'
import { logger } from '#telemetry'
import { sql } from '#testing'
import { openProxy, type TcpProxy } from '#testing/proxy'
import { inRabbit, rabbitUrl, useBroker } from '#testing/rabbit'
import dispatchJobs from '../../../functions/dispatch-jobs/index.ts'
import measureBacklog from '../../../functions/measure-backlog/index.ts'
import publishEvents from '../../../functions/publish-events/index.ts'
import { freePort } from '../../../infra/local/ports.ts'
import { write } from '../../../shared/events/testing/events.ts'
import { acknowledge, start, stopAll, submit, until } from '../../../shared/jobs/testing/work.ts'

// An unavailable broker is not a fault of the service: requests are refused as `unavailable`, and a warning is logged.

const tick = async (definition: FunctionDefinition) => {
  const attributes = { id: 'tick', source: 'test', specversion: '1.0', type: 'schedule.tick' } as const
  const response = await definition.app.fetch(eventRequest(attributes, {}))
  return { status: response.status, body: response.status === 204 ? {} : await response.json() }
}

const refused = (engine: string) => ({
  status: 503,
  body: expect.objectContaining({ code: 'unavailable', detail: expect.stringContaining(engine) }),
})

let errors: ReturnType<typeof vi.spyOn>
let warnings: ReturnType<typeof vi.spyOn>

beforeEach(async () => {
  await sql`truncate jobs, job_dispatches, outbox cascade`
  errors = vi.spyOn(logger(), 'error')
  warnings = vi.spyOn(logger(), 'warn')
})

afterEach(async () => {
  await stopAll()
  await closeJobs()
  await closeRelay()
  overrideEnvironment({ JOBS_URL: undefined, JOBS_QUEUE: undefined, EVENTS_URL: undefined })
  vi.restoreAllMocks()
})

const expectWarnings = () => {
  expect(errors).not.toHaveBeenCalled()
  expect(warnings).toHaveBeenCalled()
}

describe('where there is no broker', () => {
  it('dispatch-jobs says so', async () => {
    await submit()
    overrideEnvironment({ JOBS_URL: `amqp://127.0.0.1:${await freePort()}` })
    await sql`insert into job_dispatches (job_id) select id from jobs`
    expect(await tick(dispatchJobs)).toEqual(refused('RabbitMQ'))
    expectWarnings()
  })

  it('publish-events and measure-backlog say so', async () => {
    await write(sql, randomUUID(), 1)
    overrideEnvironment({ EVENTS_URL: `kafka://127.0.0.1:${await freePort()}` })
    expect(await tick(publishEvents)).toEqual(refused('Kafka'))
    expect(await tick(measureBacklog)).toEqual(refused('Kafka'))
    expectWarnings()
  })

  it('a worker says so, and tries again', async () => {
    overrideEnvironment({ JOBS_URL: `amqp://127.0.0.1:${await freePort()}` })
    start(() => acknowledge)
    await until(() => expect(warnings).toHaveBeenCalledWith(expect.anything(), 'lost the broker; it will try again'))
    expect(errors).not.toHaveBeenCalled()
  })
})

describe.skipIf(rabbitUrl === undefined)(`a broker that goes away ${inRabbit}`, () => {
  it.each([
    ['is cut off', (proxy: TcpProxy) => proxy.cut()],
    ['no longer answers', (proxy: TcpProxy) => proxy.silence()],
  ])('makes no fault of ours where it %s', async (_, fail) => {
    const proxy = await openProxy(rabbitUrl ?? '')
    const broker = await useBroker(proxy.url, { dispatch: false })
    try {
      await submit()
      expect(await tick(dispatchJobs)).toEqual({ status: 200, body: { dispatched: 1 } })
      await submit()
      fail(proxy)
      expect(await tick(dispatchJobs)).toEqual(refused('RabbitMQ'))
      proxy.mend()
      await until(async () => expect((await tick(dispatchJobs)).status).toBe(200))
      expect(await sql`select 1 from job_dispatches`).toEqual([])
      expectWarnings()
    } finally {
      await broker.stop()
      await proxy.close()
    }
  })
})
