import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { startTracing, type Tracing, tracing } from '#telemetry'
import { type Fields, fieldsOf, integer, text, values } from './protobuf.ts'

/** A span as the collector receives it. */
export interface ReceivedSpan {
  service: string
  resource: Record<string, unknown>
  name: string
  kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer'
  traceId: string
  spanId: string
  parentSpanId: string | undefined
  tracestate: string | undefined
  attributes: Record<string, unknown>
  events: Array<{ name: string; attributes: Record<string, unknown> }>
  links: Array<{ traceId: string; spanId: string }>
  failed: boolean
  /** Why the span failed. */
  message: string | undefined
}

export interface Collector {
  /** The value of OTEL_EXPORTER_OTLP_ENDPOINT. */
  url: string
  spans: ReceivedSpan[]
  /** Sets the status that it answers from now on; 0 means no answer. */
  answer: (status: number) => void
  close: () => Promise<void>
}

/** A collector that keeps the spans it receives, by OTLP over HTTP in protobuf: https://opentelemetry.io/docs/specs/otlp/#otlphttp */
export async function openCollector(): Promise<Collector> {
  const spans: ReceivedSpan[] = []
  let status = 200
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    if (status === 0) return
    // Log records arrive too, in JSON.
    if (req.url !== '/v1/traces') return res.writeHead(status).end()
    if (status === 200) spans.push(...readRequest(req.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body))
    res.writeHead(status, { 'content-type': 'application/x-protobuf' }).end()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    answer: (next) => {
      status = next
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The settings for a process that sends its spans to this collector, soon after they have ended. */
export function tracingVariables({ url }: Collector): Record<string, string> {
  const endpoint = `${url}/v1/traces`
  return { OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint, OTEL_BSP_SCHEDULE_DELAY: '50' }
}

/** Turns tracing on in this process until `shutDown`, which sends the remaining spans. */
export async function traceTo(
  { url }: Collector,
  variables: Record<string, string> = {},
): Promise<Tracing | undefined> {
  // The SDK reads the process's variables; overrides would not reach it.
  const all = { OTEL_EXPORTER_OTLP_ENDPOINT: url, ...variables }
  for (const [name, value] of Object.entries(all)) vi.stubEnv(name, value)
  // Makes the process read its settings again.
  overrideEnvironment({})
  await startTracing({ name: 'a-function', version: 'abc' })
  return tracing()
}

const kinds = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'] as const
const ERROR = 2

/** https://github.com/open-telemetry/opentelemetry-proto/blob/v1.9.0/opentelemetry/proto/trace/v1/trace.proto */
function readRequest(body: Buffer): ReceivedSpan[] {
  return values(fieldsOf(body), 1).flatMap((ofResource) => {
    const fields = fieldsOf(ofResource)
    const [own] = values(fields, 1)
    const resource = own ? attributesOf(fieldsOf(own), 1) : {}
    return values(fields, 2)
      .flatMap((ofScope) => values(fieldsOf(ofScope), 2))
      .map((span) => readSpan(fieldsOf(span), resource))
  })
}

function readSpan(span: Fields, resource: Record<string, unknown>): ReceivedSpan {
  const [status] = values(span, 15).map(fieldsOf)
  return {
    service: String(resource['service.name']),
    resource,
    ...idsOf(span),
    name: text(span, 5),
    kind: kinds[integer(span, 6)] ?? 'internal',
    parentSpanId: values(span, 4)[0]?.toString('hex') || undefined,
    tracestate: text(span, 3) || undefined,
    attributes: attributesOf(span, 9),
    events: values(span, 11).map((event) => {
      const fields = fieldsOf(event)
      return { name: text(fields, 2), attributes: attributesOf(fields, 3) }
    }),
    links: values(span, 13).map((link) => idsOf(fieldsOf(link))),
    failed: status !== undefined && integer(status, 3) === ERROR,
    message: (status && text(status, 2)) || undefined,
  }
}

function idsOf(fields: Fields) {
  const [traceId, spanId] = [1, 2].map((field) => values(fields, field)[0]?.toString('hex') ?? '')
  return { traceId: traceId ?? '', spanId: spanId ?? '' }
}

function attributesOf(fields: Fields, field: number): Record<string, unknown> {
  return Object.fromEntries(
    values(fields, field).map((attribute) => {
      const pair = fieldsOf(attribute)
      const [value] = values(pair, 2)
      return [text(pair, 1), value && anyValue(fieldsOf(value))]
    }),
  )
}

function anyValue(value: Fields): unknown {
  if (value.has(1)) return text(value, 1)
  if (value.has(2)) return integer(value, 2) === 1
  if (value.has(3)) return integer(value, 3)
  if (value.has(4)) return values(value, 4)[0]?.readDoubleLE()
  return values(value, 5).flatMap((list) => values(fieldsOf(list), 1).map((item) => anyValue(fieldsOf(item))))
}
