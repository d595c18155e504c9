import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { shutDown } from '#async'
import { type Collector, openCollector, traceTo } from '#testing/otlp'
import { renderMetrics } from '../metrics.ts'
import { resourceOf } from '../resource.ts'
import { traceOf } from './span.ts'
import { inSpan, tracing } from './tracing.ts'

const SAMPLED = { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, tracestate: 'shop=1' }
const UNSAMPLED = { traceparent: `00-${'c'.repeat(32)}-${'d'.repeat(16)}-00`, tracestate: undefined }

let collector: Collector

beforeAll(async () => {
  collector = await openCollector()
})

beforeEach(() => {
  collector.spans.length = 0
  collector.answer(200)
})

afterEach(async () => {
  await shutDown()
  vi.unstubAllEnvs()
})

afterAll(() => collector.close())

const start = (variables?: Record<string, string>) => traceTo(collector, variables)

async function droppedFor(reason: string): Promise<number> {
  const line = new RegExp(`^tracing_spans_dropped_total\\{reason="${reason}"\\} (\\d+)`, 'm')
  return Number(line.exec(await renderMetrics())?.[1] ?? 0)
}

describe('tracing', () => {
  it.each([
    ['no variable asks for it', { OTEL_EXPORTER_OTLP_ENDPOINT: '' }],
    ['the SDK is disabled', { OTEL_SDK_DISABLED: 'true' }],
    ['there is no exporter', { OTEL_TRACES_EXPORTER: 'none' }],
  ])('is off where %s', async (_, variables) => {
    expect(await start(variables)).toBeUndefined()
    expect(await inSpan('work', {}, async () => 'done')).toBe('done')
  })

  it.each([
    { OTEL_TRACES_EXPORTER: 'zipkin' },
    { OTEL_TRACES_SAMPLER: 'sometimes' },
    { OTEL_TRACES_SAMPLER_ARG: '2' },
    { OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector' },
    { OTEL_RESOURCE_ATTRIBUTES: 'production' },
  ])('refuses %o by the name of the variable', async (variables) => {
    await expect(start(variables)).rejects.toThrow(Object.keys(variables)[0])
  })

  it('gives each span its parent, its links and the process that made it', async () => {
    const on = await start({ OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test' })
    const linked = on?.start('linked', { parent: null })
    const outer = on?.start('outer', { kind: 'server', parent: SAMPLED, ...(linked && { links: [linked] }) })
    await on?.run(outer, () => inSpan('inner', { attributes: { count: 1 } }, async () => {}))
    outer?.end()
    linked?.end()
    await shutDown()
    const [inner, received, alone] = ['inner', 'outer', 'linked'].map((name) =>
      collector.spans.find((span) => span.name === name),
    )
    expect(received).toMatchObject({
      kind: 'server',
      traceId: 'a'.repeat(32),
      parentSpanId: 'b'.repeat(16),
      tracestate: 'shop=1',
      links: [{ traceId: alone?.traceId, spanId: alone?.spanId }],
      resource: {
        'service.name': 'a-function',
        'service.version': 'abc',
        'service.instance.id': resourceOf({ name: 'a-function' })['service.instance.id'],
        'deployment.environment.name': 'test',
      },
    })
    expect(inner).toMatchObject({
      traceId: received?.traceId,
      parentSpanId: received?.spanId,
      attributes: { count: 1 },
    })
    expect(alone?.parentSpanId).toBeUndefined()
    expect(outer && traceOf(outer).traceparent).toBe(`00-${received?.traceId}-${received?.spanId}-01`)
  })

  it('says of a span that its work has failed, and fails as the work does', async () => {
    const on = await start({ OTEL_SERVICE_NAME: 'named' })
    const outer = on?.start('outer')
    const failing = on?.run(outer, () => inSpan('inner', {}, async () => Promise.reject(new RangeError('too far'))))
    await expect(failing).rejects.toThrow('too far')
    await shutDown()
    const expected = { name: 'inner', service: 'named', failed: true, attributes: { 'error.type': 'RangeError' } }
    expect(collector.spans).toMatchObject([expected])
  })

  it('makes no span in work that is not recorded, and says that in the trace', async () => {
    const on = await start()
    const outer = on?.start('outer', { parent: UNSAMPLED })
    await on?.run(outer, () => inSpan('inner', {}, async () => expect(on.current()).toBeUndefined()))
    outer?.end()
    await shutDown()
    expect(collector.spans).toEqual([])
    expect(outer && traceOf(outer).traceparent).toMatch(/^00-c{32}-[0-9a-f]{16}-00$/)
  })

  it.each([
    ['always_on', ['asked', 'not asked', 'new', 'of a recorded one']],
    ['always_off', ['of a recorded one']],
    ['parentbased_always_on', ['asked', 'new', 'of a recorded one']],
    ['parentbased_always_off', ['asked', 'of a recorded one']],
    ['traceidratio', ['of a recorded one']],
    ['parentbased_traceidratio', ['asked', 'of a recorded one']],
  ])('by the sampler %s records %j, at a ratio of 0', async (sampler, recorded) => {
    const on = await start({ OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: '0' })
    on?.start('asked', { parent: SAMPLED }).end()
    on?.start('not asked', { parent: UNSAMPLED }).end()
    on?.start('new', { parent: null }).end()
    on?.start('of a recorded one', { parent: null, links: [UNSAMPLED, SAMPLED] }).end()
    on?.start('of none', { parent: null, links: [UNSAMPLED] }).end()
    await shutDown()
    expect(collector.spans.map(({ name }) => name).sort()).toEqual([...recorded].sort())
  })

  it('keeps to the limits of the standard variables', async () => {
    const on = await start({ OTEL_SPAN_LINK_COUNT_LIMIT: '2', OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: '3' })
    on?.start('span', { parent: null, links: Array(10).fill(SAMPLED), attributes: { text: 'abcdef' } }).end()
    await shutDown()
    expect(collector.spans).toMatchObject([{ attributes: { text: 'abc' } }])
    expect(collector.spans[0]?.links).toHaveLength(2)
  })

  it('drops and counts what a collector refuses, and what waits past the bound', async () => {
    const [refused, over] = [await droppedFor('export_failed'), await droppedFor('queue_full')]
    collector.answer(400)
    const on = await start({ OTEL_BSP_MAX_QUEUE_SIZE: '10', OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '10' })
    for (let count = 0; count < 15; count++) on?.start('span', { parent: null }).end()
    await vi.waitFor(async () => expect((await droppedFor('export_failed')) - refused).toBe(10))
    expect((await droppedFor('queue_full')) - over).toBe(5)
    collector.answer(200)
    on?.start('later', { parent: null }).end()
    await shutDown()
    expect(collector.spans).toMatchObject([{ name: 'later' }])
  })

  it('ends though the collector is silent', async () => {
    collector.answer(0)
    const on = await start()
    on?.start('span', { parent: null }).end()
    await shutDown()
    expect(tracing()).toBeUndefined()
  })
})
