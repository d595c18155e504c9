import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { FinishedSpan } from '#telemetry'
import { serveTraces } from './serve-traces.ts'
import { createTraceStore } from './store.ts'
import { waterfall } from './waterfall.ts'

const span = (traceId: string, spanId: string, more: Partial<FinishedSpan> = {}): FinishedSpan => ({
  traceId,
  spanId,
  parentSpanId: undefined,
  name: spanId,
  startMs: 1_000,
  durationMs: 10,
  isFailed: false,
  events: [],
  linkedTraceIds: [],
  ...more,
})
const idOf = (number: number) => number.toString(16).padStart(32, '0')
const lineOf = (traceId: string, requestId: string) =>
  `${JSON.stringify({ level: 'info', time: '2026-01-02T03:04:05.678Z', msg: 'a line', trace_id: traceId, request_id: requestId })}\n`

describe('the last traces', () => {
  it('are found by their id and by that of a request, with those that they are linked with', () => {
    const store = createTraceStore()
    const [request, batch, other, effect] = [1, 2, 3, 4].map(idOf) as [string, string, string, string]
    store.addSpan(span(request, 'a', { linkedTraceIds: [batch] }))
    for (const id of [batch, other]) store.addSpan(span(id, 'b'))
    store.addSpan(span(effect, 'c', { linkedTraceIds: [request] }))
    store.addLine(lineOf(request, 'my-request'))
    store.addLine('{"level":"info","msg":"of no trace"}\n')
    const found = store.find('my-request')
    expect(found.map(({ traceId }) => traceId)).toEqual([request, batch, effect])
    expect(found[0]?.lines).toEqual([lineOf(request, 'my-request').trimEnd()])
    expect(store.find(request)).toEqual(found)
    expect(store.find('unknown')).toEqual([])
  })

  it('are bounded: the oldest make room, and of a large one only the first spans and lines are kept', () => {
    const store = createTraceStore()
    for (let number = 0; number < 5_000; number++) {
      store.addSpan(span(idOf(number), 'a'))
      store.addLine(lineOf(idOf(number), `r-${number}`))
      store.addSpan(span(idOf(4_999), `s-${number}`))
      store.addLine(lineOf(idOf(4_999), 'large'))
    }
    expect(store.find(idOf(0))).toEqual([])
    expect(store.find('r-0')).toEqual([])
    expect(store.find(idOf(4_900))).toHaveLength(1)
    const [large] = store.find('large')
    expect([large?.spans.length, large?.lines.length]).toEqual([500, 200])
  })

  it('are answered on loopback, and no odd request harms that', async () => {
    const store = createTraceStore()
    store.addSpan(span(idOf(1), 'a'))
    const server = await serveTraces(store)
    onTestFinished(server.close)
    expect(await (await fetch(`${server.url}/?id=${idOf(1)}`)).json()).toMatchObject([{ traceId: idOf(1) }])
    for (const path of ['/', '/?id=%', '/?id=x', '/%E0%A4%A?id=%E0%A4%A']) {
      expect((await fetch(server.url + path)).status).toBe(404)
    }
  })
})

describe('a waterfall', () => {
  it('has each span below the one that it is in, in the order of time, with a bar of its share of the time', () => {
    const id = idOf(10)
    const drawn = waterfall({
      traceId: id,
      spans: [
        span(id, 'select', { parentSpanId: 'transaction', startMs: 1_060, durationMs: 20, isFailed: true }),
        span(id, 'POST /v1', { parentSpanId: 'of the caller', startMs: 1_000, durationMs: 100 }),
        span(id, 'transaction', {
          parentSpanId: 'POST /v1',
          startMs: 1_050,
          durationMs: 50,
          events: ['retry'],
          linkedTraceIds: [idOf(11)],
        }),
        span(id, 'look-up', { parentSpanId: 'POST /v1', startMs: 1_010, durationMs: 0 }),
      ],
      lines: [lineOf(id, 'r').trimEnd()],
    })
    const [head, ...rows] = stripVTControlCharacters(drawn).trimEnd().split('\n')
    expect(head).toContain(`trace ${id}`)
    expect(rows.map((row) => row.slice(0, 16).trimEnd())).toEqual([
      'POST /v1',
      '  look-up',
      '  transaction',
      '    select',
      '03:04:05.678 a l',
    ])
    expect(
      rows.slice(0, 4).map((row) => [row.indexOf('█') - (rows[0]?.indexOf('█') ?? 0), row.split('█').length - 1]),
    ).toEqual([
      [0, 40],
      [4, 1],
      [20, 20],
      [24, 8],
    ])
    expect(rows[2]).toMatch(/50\.00 ms +retry, ⇢ 00000000$/)
    expect(rows[3]).toMatch(/20\.00 ms +failed$/)
  })

  it('is drawn of a trace that has lines alone', () => {
    expect(waterfall({ traceId: 'x', spans: [], lines: [] })).toContain('no spans')
  })
})
