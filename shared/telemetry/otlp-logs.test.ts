import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { shutDown } from '#async'
import { ConfigError, overrideEnvironment } from '#config'
import { formatLines, logger, writeAccessLine } from './log.ts'
import { renderMetrics } from './metrics.ts'
import { startLogExport } from './otlp-logs.ts'
import { resourceOf } from './resource.ts'

interface Received {
  resourceLogs: Array<{
    resource: { attributes: Array<{ key: string; value: { stringValue: string } }> }
    scopeLogs: Array<{ logRecords: Array<Record<string, unknown>> }>
  }>
}

let received: Received[]
let headers: IncomingHttpHeaders
let status: number
const server = createServer(async (req, res) => {
  headers = req.headers
  const body = (await json(req)) as Received
  if (status === 200) received.push(body)
  res.writeHead(status).end('{}')
})

beforeEach(async () => {
  received = []
  status = 200
  logger().level = 'info'
  formatLines(() => '')
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  setVariables({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}/`,
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic%20eDp5',
  })
})
afterEach(async () => {
  await shutDown()
  logger().level = 'silent'
  formatLines((line) => line)
  vi.unstubAllEnvs()
  setVariables({})
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

/** Sets variables in the process's own environment: an override would outlive this file, and hide variables that others set. */
function setVariables(variables: Record<string, string>): void {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
  // Makes the settings be read again.
  overrideEnvironment({})
}

const records = () => received.flatMap(({ resourceLogs: [logs] }) => logs?.scopeLogs[0]?.logRecords ?? [])
const resource = () => {
  const attributes = received[0]?.resourceLogs[0]?.resource.attributes ?? []
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue]))
}
const count = async (name: string) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(await renderMetrics())?.[1])

const TIME = '2026-01-02T03:04:05.678Z'
const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const SPAN_ID = 'b7ad6b7169203331'

it('sends each line as a record with its time, level, trace and text', async () => {
  startLogExport({ name: 'reserve-stock', version: '1' })
  const line = `{"level":"info","time":"${TIME}","msg":"request","trace_id":"${TRACE_ID}","span_id":"${SPAN_ID}","text":"\\"ü\\\\"}`
  writeAccessLine(`${line}\n`)
  logger().error({ code: 'internal' }, 'It broke.')
  await shutDown()
  expect(headers.authorization).toBe('Basic eDp5')
  expect(resource()).toMatchObject({ 'service.name': 'reserve-stock', 'service.version': '1' })
  const [request, failure] = records()
  expect(request).toEqual({
    timeUnixNano: `${Date.parse(TIME)}000000`,
    severityNumber: 9,
    severityText: 'info',
    body: { stringValue: line },
    traceId: TRACE_ID,
    spanId: SPAN_ID,
  })
  expect(failure).toMatchObject({ severityNumber: 17, severityText: 'error' })
  expect(failure).not.toHaveProperty('traceId')
})

it('says what spans say of the process, and sends the headers that the standard variables ask for', async () => {
  setVariables({
    OTEL_SERVICE_NAME: 'named',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=a%20test,service.name=other,service.instance.id=7',
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic eDp5eg==, x-shop = 1,',
    OTEL_EXPORTER_OTLP_LOGS_HEADERS: 'x-shop=2',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: 'http/json',
  })
  startLogExport({ name: 'reserve-stock' })
  logger().info('a line')
  await shutDown()
  expect(headers).toMatchObject({ authorization: 'Basic eDp5eg==', 'x-shop': '2' })
  expect(resource()).toEqual(resourceOf({ name: 'reserve-stock' }))
  expect(resource()).toMatchObject({
    'service.name': 'named',
    'service.instance.id': '7',
    'deployment.environment.name': 'a test',
  })
})

it.each([
  ['OTEL_EXPORTER_OTLP_HEADERS', 'a-secret'],
  ['OTEL_EXPORTER_OTLP_LOGS_HEADERS', 'authorization=%a-secret'],
  ['OTEL_RESOURCE_ATTRIBUTES', '=a-secret'],
  ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc'],
  ['OTEL_EXPORTER_OTLP_LOGS_PROTOCOL', 'http/protobuf'],
])('refuses %s=%s by the name of the variable', (name, value) => {
  setVariables({ [name]: value })
  expect(() => startLogExport({ name: 'x' })).toThrow(new RegExp(`^${name}: must be (?!.*secret)`))
})

it('sends nothing where it is not asked to, and refuses an endpoint that is no URL', async () => {
  setVariables({ OTEL_LOGS_EXPORTER: 'none' })
  startLogExport({ name: 'x' })
  logger().info('a line')
  await shutDown()
  expect(received).toEqual([])
  setVariables({ OTEL_EXPORTER_OTLP_ENDPOINT: 'nowhere' })
  expect(() => startLogExport({ name: 'x' })).toThrow(ConfigError)
})

it('keeps 4 MiB of lines for a collector that is away, and counts those that it drops', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    status = 503
    startLogExport({ name: 'reserve-stock' })
    const before = await count('log_records_dropped_total')
    const line = `{"level":"info","time":"${TIME}","msg":"request","text":"${'x'.repeat(1_000)}"}\n`
    for (let written = 0; written < 10_000; written++) writeAccessLine(line)
    // 10 MB were written, of which 4 MiB may wait.
    expect((await count('log_records_dropped_total')) - before).toBeGreaterThan(5_000)
  } finally {
    vi.useRealTimers()
  }
  const waiting = 10_000 - (await count('log_records_dropped_total'))
  status = 200
  await shutDown()
  expect(waiting).toBeGreaterThan(3_000)
  expect(records().length).toBeGreaterThanOrEqual(waiting)
})
