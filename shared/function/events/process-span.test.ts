import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { shutDown } from '#async'
import { functionNamed } from '#testing/functions'
import { type Collector, openCollector, traceTo } from '#testing/otlp'
import { inBatchSpans } from './process-span.ts'

const notifyWebhooks = await functionNamed('notify-webhooks')
const messageOf = (id: string, flags: string) => ({
  system: 'kafka',
  destination: 'stock-events',
  id,
  trace: { traceparent: `00-${id.repeat(32)}-${id.repeat(16)}-${flags}`, tracestate: null, baggage: `tenant=${id}` },
})

let collector: Collector

beforeAll(async () => {
  collector = await openCollector()
})

afterEach(() => vi.unstubAllEnvs())

afterAll(() => collector.close())

it('messages that are processed together each have a span, if they are recorded, linked with the one of all', async () => {
  await traceTo(collector)
  const messages = [messageOf('a', '01'), messageOf('b', '00'), messageOf('c', '01')]
  let traces: string[] = []
  let baggage: unknown[] = []
  await inBatchSpans(notifyWebhooks, messages, async (traced) => {
    traces = traced.map(({ trace }) => trace.traceparent)
    baggage = traced.map(({ trace }) => trace.baggage)
    return [{ verdict: 'acknowledge' }, { verdict: 'acknowledge' }, { verdict: 'reject', error: 'unfit' }]
  })
  await shutDown()
  const [together, ...others] = collector.spans.filter(({ name }) => name === 'process stock-events together')
  expect(others).toEqual([])
  expect(together).toMatchObject({
    parentSpanId: undefined,
    failed: false,
    attributes: { 'messaging.batch.message_count': 3 },
  })
  const of = (id: string) =>
    collector.spans.find(({ name, traceId }) => name === 'process stock-events' && traceId === id.repeat(32))
  const idsOf = ({ traceId = '', spanId = '' } = {}) => ({ traceId, spanId })
  const [first, unrecorded, last] = [of('a'), of('b'), of('c')]
  expect(unrecorded).toBeUndefined()
  expect(first).toMatchObject({ parentSpanId: 'a'.repeat(16), failed: false })
  expect(first?.links).toEqual([{ traceId: first?.traceId, spanId: 'a'.repeat(16) }, idsOf(together)])
  expect(last).toMatchObject({ failed: true, attributes: { 'error.type': 'reject' } })
  expect(together?.links).toEqual([idsOf(first), idsOf(last)])
  expect(traces).toEqual([
    `00-${first?.traceId}-${first?.spanId}-01`,
    messages[1]?.trace.traceparent,
    `00-${last?.traceId}-${last?.spanId}-01`,
  ])
  expect(baggage).toEqual(['tenant=a', 'tenant=b', 'tenant=c'])
})
