import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { freePort } from '../../local/ports.ts'
import { findProgram } from '../testing/programs.ts'

const program = findProgram('otelcol-contrib', 'TEST_OTELCOL')
const config = fileURLToPath(new URL('./config.yaml', import.meta.url))

type Attributes = Record<string, string>
interface SpanOptions {
  name: string
  traceId: string
  parent?: string
  ms?: number
  failed?: boolean
  attributes?: Attributes
}

/** The bodies that the store received, each with its path. */
const stored: Array<{ path: string; body: object }> = []
const store = createServer(async (req, res) => {
  const body = req.headers['content-encoding'] === 'gzip' ? gunzipSync(await bytesOf(req)) : await bytesOf(req)
  stored.push({ path: req.url ?? '', body: JSON.parse(body.toString()) })
  res.writeHead(200, { 'content-type': 'application/json' }).end('{}')
})

interface Running {
  otlp: string
  metrics: string
  stop: () => Promise<void>
}

let running: Running

async function bytesOf(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const attributesOf = (attributes: Attributes) =>
  Object.entries(attributes).map(([key, stringValue]) => ({ key, value: { stringValue } }))

async function send(path: string, body: object): Promise<void> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${running.otlp}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  expect(response.status).toBe(200)
}

async function sendSpans(spans: SpanOptions[]): Promise<string[]> {
  const now = Date.now()
  const ids = spans.map(() => randomBytes(8).toString('hex'))
  const records = spans.map(({ name, traceId, parent, ms = 1, failed = false, attributes = {} }, index) => ({
    traceId,
    spanId: ids[index],
    parentSpanId: parent === undefined ? '' : ids[spans.findIndex((each) => each.name === parent)],
    name,
    kind: 2,
    startTimeUnixNano: `${now - ms}000000`,
    endTimeUnixNano: `${now}000000`,
    attributes: attributesOf(attributes),
    status: failed ? { code: 2 } : {},
  }))
  const resource = { attributes: attributesOf({ 'service.name': 'reserve-stock' }) }
  await send('/v1/traces', { resourceSpans: [{ resource, scopeSpans: [{ spans: records }] }] })
  return ids
}

const newTrace = () => randomBytes(16).toString('hex')
const storedText = (path: string) => JSON.stringify(stored.filter((each) => each.path === path).map(({ body }) => body))
const namesOf = (traceId: string) => {
  const spans = storedText('/v1/traces').matchAll(/"traceId":"(\w+)"[^{}]*?"name":"([^"]+)"/g)
  return Array.from(spans, ([, id, name]) => (id === traceId ? [name] : []))
    .flat()
    .sort()
}

/** Starts it with our configuration, except for its addresses, how long it waits for a trace, and JSON to the store, which this test can read. */
async function startCollector(keptPercent: number): Promise<Running> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-collector-'))
  const { port } = store.address() as AddressInfo
  const [http, grpc, health, own, span] = await Promise.all(Array.from({ length: 5 }, freePort))
  const here = (key: string, value: string | number) => ['--config', `yaml:${key}: ${value}`]
  const args = [
    ...['--config', config],
    ...here('receivers::otlp::protocols::http::endpoint', `127.0.0.1:${http}`),
    ...here('receivers::otlp::protocols::grpc::endpoint', `127.0.0.1:${grpc}`),
    ...here('extensions::health_check::endpoint', `127.0.0.1:${health}`),
    ...here('extensions::file_storage::directory', folder),
    ...here('exporters::prometheus::endpoint', `127.0.0.1:${span}`),
    ...here('exporters::otlp_http/traces::encoding', 'json'),
    ...here('exporters::otlp_http/logs::encoding', 'json'),
    ...here('processors::tail_sampling::decision_wait', '1s'),
    ...[
      '--config',
      `yaml:service::telemetry::metrics::readers: [{ pull: { exporter: { prometheus: { host: 127.0.0.1, port: ${own} } } } }]`,
    ],
  ]
  const env = {
    TRACES_ENDPOINT: `http://127.0.0.1:${port}`,
    LOGS_ENDPOINT: `http://127.0.0.1:${port}`,
    TRACES_KEPT_PERCENT: String(keptPercent),
  }
  const collector = spawn(program ?? '', args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let output = ''
  collector.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  const answers = () =>
    fetch(`http://127.0.0.1:${health}`).then(
      (response) => response.status,
      () => output,
    )
  await vi.waitFor(async () => expect(await answers()).toBe(200), { timeout: 30_000, interval: 100 })
  return {
    otlp: `http://127.0.0.1:${http}`,
    metrics: `http://127.0.0.1:${span}/metrics`,
    async stop() {
      if (collector.exitCode === null) {
        collector.kill()
        await once(collector, 'exit')
      }
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Sends a trace that is kept, and waits for it. By then, all earlier traces have been decided on, and stored if they were kept. */
async function expectDecided(): Promise<void> {
  const traceId = newTrace()
  await sendSpans([{ name: 'the last', traceId, failed: true }])
  await expect.poll(() => namesOf(traceId), { timeout: 20_000 }).toEqual(['the last'])
}

const probed = { 'http.route': '/healthz' }

beforeAll(async () => {
  await once(store.listen(0, '127.0.0.1'), 'listening')
})
afterAll(() => {
  store.close()
})

describe.skipIf(!program)('the collector that keeps all', { timeout: 60_000 }, () => {
  beforeAll(async () => {
    running = await startCollector(100)
  })
  afterAll(() => running.stop())

  it('drops a probe with its children, unless it failed, and counts all spans', async () => {
    const [quick, probe, failedProbe] = [newTrace(), newTrace(), newTrace()]
    await sendSpans([{ name: 'quick', traceId: quick }])
    for (const [traceId, isFailed] of [
      [probe, false],
      [failedProbe, true],
    ] as const) {
      await sendSpans([
        { name: 'GET /healthz', traceId, attributes: probed },
        { name: 'its child', traceId, parent: 'GET /healthz', failed: isFailed },
      ])
    }
    await expectDecided()
    expect(namesOf(failedProbe)).toEqual(['GET /healthz', 'its child'])
    expect(namesOf(quick)).toEqual(['quick'])
    expect(namesOf(probe)).toEqual([])
    const counted = () => fetch(running.metrics).then((response) => response.text())
    await expect.poll(counted, { timeout: 20_000 }).toMatch(/traces_span_metrics_calls_total\{[^}]*span_name="quick"/)
    expect(await counted()).toMatch(/traces_span_metrics_calls_total\{[^}]*service_name="reserve-stock"/)
  })

  it('takes a line of the log apart, and masks what looks like a secret', async () => {
    const traceId = newTrace()
    const line = {
      level: 'error',
      time: new Date().toISOString(),
      msg: 'It broke.',
      request_id: 'r-1',
      trace_id: traceId,
      reason: 'Bearer abcdef123 of postgres://x:hunter2@db',
      password: 'hunter3',
    }
    const record = {
      timeUnixNano: `${Date.now()}000000`,
      severityNumber: 17,
      severityText: 'error',
      traceId,
      body: { stringValue: JSON.stringify(line) },
    }
    await send('/v1/logs', { resourceLogs: [{ scopeLogs: [{ logRecords: [record] }] }] })
    await sendSpans([{ name: 'secret', traceId: newTrace(), failed: true, attributes: { authorization: 'hunter4' } }])
    await expect.poll(() => storedText('/v1/logs'), { timeout: 20_000 }).toContain('"stringValue":"It broke."')
    expect(storedText('/v1/logs')).toContain('{"key":"request_id","value":{"stringValue":"r-1"}}')
    await expect.poll(() => storedText('/v1/traces'), { timeout: 20_000 }).toContain('"name":"secret"')
    expect(JSON.stringify(stored)).not.toMatch(/hunter|abcdef/)
  })
})

describe.skipIf(!program)('the collector that keeps a share of none', { timeout: 60_000 }, () => {
  beforeAll(async () => {
    running = await startCollector(0)
  })
  afterAll(() => running.stop())

  it('keeps what failed and what was slow whole, and drops all else whole', async () => {
    const [failed, slow, quick] = [newTrace(), newTrace(), newTrace()]
    await sendSpans([
      { name: 'POST /v1/reservations', traceId: failed },
      { name: 'select', traceId: failed, parent: 'POST /v1/reservations', failed: true },
    ])
    await sendSpans([
      { name: 'slow', traceId: slow, ms: 600 },
      { name: 'child', traceId: slow, parent: 'slow' },
    ])
    await sendSpans([
      { name: 'quick', traceId: quick, ms: 400 },
      { name: 'child', traceId: quick, parent: 'quick' },
    ])
    await expectDecided()
    expect(namesOf(failed)).toEqual(['POST /v1/reservations', 'select'])
    expect(namesOf(slow)).toEqual(['child', 'slow'])
    expect(namesOf(quick)).toEqual([])
  })
})
