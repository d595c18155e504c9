import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import * as z from 'zod'
import { overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { ServiceError } from '#errors'
import { publish, relayOutbox } from '#events'
import { type FunctionDefinition, outboxFunction, queueFunction, streamFunction } from '#function'
import { type RunningTrigger, startEventOutbox, startQueue, startStream } from '#function/triggers'
import { runJob, submitJob } from '#jobs'
import { everyType, sql } from '#testing'

const trace = {
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  tracestate: 'a=1',
  baggage: undefined,
}
const context = () => systemContext('api-key:test', trace)
const until = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 })
const started: RunningTrigger[] = []
const summary = 'For a test.'

function start(run: (definition: FunctionDefinition) => RunningTrigger, definition: FunctionDefinition): void {
  started.push(run(definition))
}

beforeEach(async () => {
  await sql`truncate jobs, event_log, event_groups, dead_events cascade`
})

afterEach(async () => {
  await Promise.all(started.splice(0).map((trigger) => trigger.stop()))
})

describe('a stream function', () => {
  it('gets a topic’s events as CloudEvents, in the trace of what caused them', async () => {
    const received: unknown[] = []
    const definition = streamFunction({
      name: 'test-stream',
      summary,
      topics: ['stock-events'],
      data: z.object({ note: z.string() }),
      handler: async ({ attributes, data, context: by }) => {
        received.push({ attributes, data, traceId: by.trace.traceparent.slice(3, 35), state: by.trace.tracestate })
      },
    })
    const productId = randomUUID()
    await publish(sql, [{ type: 'stock.low', productId, version: 3, data: { note: 'ü %' }, trace }])
    await relayOutbox(context())
    start(startStream, definition)
    await until(() => expect(received).toHaveLength(1))
    const [event] = await sql`select id, occurred_at from event_log`
    expect(received[0]).toEqual({
      attributes: {
        id: event?.id,
        source: '/topics/stock-events',
        specversion: '1.0',
        type: 'stock.low',
        subject: productId,
        time: event?.occurred_at.toISOString(),
      },
      data: { note: 'ü %' },
      traceId: trace.traceparent.slice(3, 35),
      state: 'a=1',
    })
  })

  it('gets only what it wants at the moment, and all where that can’t be told', async () => {
    const asked: string[] = []
    const received: string[] = []
    const definition = streamFunction({
      name: 'test-choosy',
      summary,
      topics: ['stock-events'],
      wants: async (type) => {
        asked.push(type)
        if (type === 'stock.out') throw new Error('nobody knows')
        return type === 'stock.back'
      },
      data: z.object({}),
      handler: async ({ attributes }) => {
        received.push(attributes.type)
      },
    })
    const types = ['stock.low', 'stock.out', 'stock.back', 'stock.low'] as const
    const events = types.map((type, version) => ({ type, productId: randomUUID(), version, data: {}, trace }))
    await publish(sql, events)
    await relayOutbox(context())
    start(startStream, definition)
    await until(() => expect(asked).toEqual(types))
    expect(received).toEqual(['stock.out', 'stock.back'])
  })

  it('dead-letters what the function refuses for good, with its reason', async () => {
    const definition = streamFunction({
      name: 'test-refusing',
      summary,
      topics: ['stock-events'],
      data: z.object({ note: z.string() }),
      handler: async () => {},
    })
    await publish(sql, [{ type: 'stock.low', productId: randomUUID(), version: 1, data: { note: 1 }, trace }])
    await relayOutbox(context())
    start(startStream, definition)
    await until(async () => expect(await sql`select 1 from dead_events`).toHaveLength(1))
    expect(await sql`select group_name, error from dead_events`).toEqual([
      { group_name: 'test-refusing', error: expect.stringMatching(/^validation_failed: note: /) },
    ])
  })
})

describe('a stream function that takes batches', () => {
  const notes = (count: number) =>
    Array.from({ length: count }, (_, n) => ({
      type: 'stock.low' as const,
      productId: randomUUID(),
      version: 1,
      data: { n },
      trace,
    }))
  const functionOf = (
    handler: (
      events: Array<{ attributes: { id: string }; data: { n: number } }>,
    ) => Promise<PromiseSettledResult<unknown>[]>,
    limits = {},
  ) =>
    streamFunction({
      name: 'test-batch',
      summary,
      topics: ['stock-events'],
      data: z.object({ n: z.number() }),
      batch: { max: 50, waitMs: 0 },
      limits,
      handler,
    })

  it('gets several events at once, and what it rejects is dead-lettered', async () => {
    const sizes: number[] = []
    await publish(sql, notes(80))
    await relayOutbox(context())
    const definition = functionOf((events) => {
      sizes.push(events.length)
      return Promise.allSettled(
        events.map(async ({ data }) => {
          if (data.n === 7) throw new ServiceError('sku_taken', 'never')
        }),
      )
    })
    start(startStream, definition)
    await until(async () => expect(await sql`select 1 from dead_events`).toHaveLength(1))
    await until(() => expect(sizes).toEqual([50, 30]))
    expect(await sql`select data, error, attempts from dead_events`).toEqual([
      { data: { n: 7 }, error: 'sku_taken: never', attempts: 1 },
    ])
  })

  it('gets them in parts where they have too many bytes for one request, and one that is too large alone is dead', async () => {
    const [sizes, seen] = [[] as number[], new Set<number>()]
    const events = notes(20)
    await publish(sql, [
      ...events,
      { ...(events[0] as (typeof events)[0]), version: 2, data: { n: 20, text: 'x'.repeat(3_000) } } as never,
    ])
    await relayOutbox(context())
    const definition = functionOf(
      async (received) => {
        sizes.push(received.length)
        for (const { data } of received) seen.add(data.n)
        return received.map((value) => ({ status: 'fulfilled', value }))
      },
      { maxBodyBytes: 2_000 },
    )
    start(startStream, definition)
    await until(async () => expect(await sql`select error from dead_events`).toHaveLength(1))
    expect((await sql`select error from dead_events`)[0]?.error).toMatch(/^too_large/)
    await until(() => expect(seen.size).toBe(20))
    expect(Math.max(...sizes)).toBeLessThan(20)
  })

  it.each([
    ['throws', () => Promise.reject(new TypeError('secret'))],
    ['gives too few results', async () => []],
  ])('gets its events one by one where it %s', async (_, fail) => {
    const sizes: number[] = []
    await publish(sql, notes(10))
    await relayOutbox(context())
    const definition = functionOf(async (events) => {
      sizes.push(events.length)
      if (events.length > 1) return fail()
      return events.map((value) => ({ status: 'fulfilled', value }))
    })
    start(startStream, definition)
    await until(() => expect(sizes).toEqual([10, ...Array<number>(10).fill(1)]))
    expect(await sql`select 1 from dead_events`).toEqual([])
  })
})

describe('a queue function that takes batches', () => {
  it('gets the jobs that come together at once, each with its own outcome, and a failed one alone the next time', async () => {
    const batches: string[][] = []
    const ids = await Promise.all(
      Array.from({ length: 2 }, () => submitJob({ type: 'verify-ledger', payload: {} }, context())),
    )
    const [fine = '', failing = ''] = ids.map(({ id }) => id)
    const definition = queueFunction({
      name: 'test-queue',
      summary,
      queue: 'jobs',
      data: z.strictObject({ jobId: z.guid() }),
      batch: { max: 10, waitMs: 50 },
      handler: (events) => {
        batches.push(events.map(({ data }) => data.jobId))
        return Promise.allSettled(
          events.map(({ attributes, data, context: by }) =>
            runJob(
              data.jobId,
              attributes.id,
              by,
              everyType(async () => {
                if (data.jobId === failing && batches.length === 1) throw new ServiceError('bad_gateway', 'not now')
                return {}
              }),
            ),
          ),
        )
      },
    })
    start(startQueue, definition)
    const states = async () => sql`select id, state, attempts from jobs order by attempts`
    await until(async () =>
      expect(await states()).toMatchObject([
        { id: fine, state: 'succeeded' },
        { id: failing, state: 'succeeded' },
      ]),
    )
    expect(batches.map((batch) => batch.length)).toEqual([2, 1])
    expect(await states()).toMatchObject([{ attempts: 1 }, { attempts: 2 }])
  })
})

describe('a queue function', () => {
  const working = (work: () => Promise<object>) =>
    queueFunction({
      name: 'test-queue',
      summary,
      queue: 'jobs',
      data: z.strictObject({ jobId: z.guid() }),
      handler: ({ attributes, data, context: by }) => runJob(data.jobId, attributes.id, by, everyType(work)),
    })
  const submit = () => submitJob({ type: 'verify-ledger', payload: {} }, context())
  const jobOf = async (id: string) => (await sql`select state, attempts, error from jobs where id = ${id}`)[0]

  it('acknowledges a job by running it', async () => {
    const { id } = await submit()
    start(
      startQueue,
      working(async () => ({ fine: true })),
    )
    await until(async () => expect(await jobOf(id)).toMatchObject({ state: 'succeeded', attempts: 1 }))
  })

  it.each<[string, Error, string, string]>([
    ['a defect again later', new TypeError('secret'), 'retrying', 'internal: '],
    ['what is busy again later', new ServiceError('busy', 'not now'), 'retrying', 'busy: not now'],
    ['what is limited again later', new ServiceError('rate_limited', 'slowly'), 'retrying', 'rate_limited: slowly'],
    ['never again what is refused', new ServiceError('sku_taken', 'never'), 'dead', 'sku_taken: never'],
  ])('tries %s', async (_, thrown, state, error) => {
    const { id } = await submit()
    const failing = working(async () => {
      throw thrown
    })
    start(startQueue, failing)
    await until(async () => expect(await jobOf(id)).toMatchObject({ state, attempts: 1 }))
    const job = await jobOf(id)
    expect(job?.error.startsWith(error)).toBe(true)
    expect(job?.error).not.toContain('secret')
  })
})

describe('an outbox function', () => {
  it('runs again and again, also after it has failed, until it is stopped', async () => {
    let runs = 0
    const handler = async () => {
      runs++
      if (runs === 2) throw new Error('once')
    }
    const trigger = startEventOutbox(
      outboxFunction({ name: 'test-outbox', outbox: 'events', summary, everyMs: 1, handler }),
    )
    await until(() => expect(runs).toBeGreaterThan(3))
    await trigger.stop()
    const atStop = runs
    await sql`select pg_sleep(0.05)`
    expect(runs).toBe(atStop)
  })

  it('does not start where there is no adapter for the URL', () => {
    overrideEnvironment({ EVENTS_URL: 'amqp://127.0.0.1' })
    const definition = outboxFunction({
      name: 'test-outbox',
      outbox: 'events',
      summary,
      everyMs: 1,
      handler: async () => {},
    })
    expect(() => startEventOutbox(definition)).toThrow('EVENTS_URL: must be postgres:')
    overrideEnvironment({ EVENTS_URL: undefined })
  })

  it('can’t be started as anything else', () => {
    const definition = outboxFunction({
      name: 'test-outbox',
      outbox: 'events',
      summary,
      everyMs: 1,
      handler: async () => {},
    })
    expect(() => startStream(definition)).toThrow('is not a stream function')
    expect(() => startQueue(definition)).toThrow('is not a queue function')
  })
})
