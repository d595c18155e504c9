import * as z from 'zod'
import { onShutdown, startLoop } from '#async'
import { defineSettings } from '#config'
import { followLines, logger } from './log.ts'
import { counter } from './metrics.ts'
import { pairsSetting, resourceOf, type Service } from './resource.ts'

/** The standard variables that apply here: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ */
const settings = defineSettings(
  z.object({
    OTEL_SDK_DISABLED: z.string().default('false'),
    OTEL_LOGS_EXPORTER: z.enum(['otlp', 'none']).optional(),
    OTEL_EXPORTER_OTLP_ENDPOINT: z.url().optional(),
    OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: z.url().optional(),
    OTEL_EXPORTER_OTLP_HEADERS: pairsSetting,
    OTEL_EXPORTER_OTLP_LOGS_HEADERS: pairsSetting,
    /** The protocol of spans may be the other encoding: a receiver of OTLP over HTTP accepts both. */
    OTEL_EXPORTER_OTLP_PROTOCOL: z
      .enum(['http/protobuf', 'http/json'], 'must be http/protobuf, or http/json')
      .optional(),
    OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: z.literal('http/json', 'must be http/json').optional(),
  }),
  (variables) => {
    const base = variables.OTEL_EXPORTER_OTLP_ENDPOINT ?? 'http://localhost:4318'
    const { OTEL_LOGS_EXPORTER: exporter, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: own } = variables
    const isAsked = exporter === 'otlp' || own !== undefined || variables.OTEL_EXPORTER_OTLP_ENDPOINT !== undefined
    const isOn = isAsked && exporter !== 'none' && variables.OTEL_SDK_DISABLED.toLowerCase() !== 'true'
    return {
      url: isOn ? (own ?? `${base.replace(/\/$/, '')}/v1/logs`) : undefined,
      headers: { ...variables.OTEL_EXPORTER_OTLP_HEADERS, ...variables.OTEL_EXPORTER_OTLP_LOGS_HEADERS },
    }
  },
)

/** The most characters of lines that may wait for the collector, as many as may wait for stdout. */
const WAITING_MAX = 4 * 1024 * 1024
/** The most lines in one request: some 300 kB. */
const BATCH_MAX = 1_000
const INTERVAL_MS = 1_000
const TIMEOUT_MS = 5_000
const ATTEMPTS_MAX = 3

const exported = counter('log_records_exported_total', 'Log records that the collector has taken.')
const dropped = counter('log_records_dropped_total', 'Log records dropped because the collector did not take them.')

/**
 * Also sends each line of the log to a collector, if the standard variables (`OTEL_*`) ask for it, until the shutdown. It uses OTLP over HTTP in
 * JSON, with the line as the record's body, which the collector parses. While the collector is away, records are dropped and counted. Throws a
 * ConfigError.
 */
export function startLogExport(service: Service): void {
  const { url, headers } = settings()
  if (url === undefined) return
  const envelope = envelopeOf(resourceOf(service))
  const waiting: string[] = []
  let length = 0
  const note = noteChanges()

  const unfollow = followLines((line) => {
    if (length + line.length > WAITING_MAX) return dropped.inc()
    waiting.push(line)
    length += line.length
  })

  /** The batch under way, and how often it was sent. */
  let batch: string[] = []
  let attempts = 0

  async function round(): Promise<number> {
    let isTaken = true
    while (isTaken && (batch.length > 0 || waiting.length > 0)) {
      if (batch.length === 0) {
        batch = waiting.splice(0, BATCH_MAX)
        length -= batch.reduce((sum, line) => sum + line.length, 0)
      }
      isTaken = await post(url ?? '', headers, `${envelope.head}${batch.flatMap(toRecord).join(',')}${envelope.tail}`)
      attempts += 1
      if (!isTaken && attempts < ATTEMPTS_MAX) continue
      ;(isTaken ? exported : dropped).inc(batch.length)
      batch = []
      attempts = 0
      note(isTaken)
    }
    return INTERVAL_MS
  }

  const loop = startLoop(round, { firstPauseMs: INTERVAL_MS, ref: false })
  onShutdown(async () => {
    await loop.stop()
    unfollow()
    await round()
    dropped.inc(batch.length + waiting.length)
  })
}

async function post(url: string, headers: Record<string, string>, body: string): Promise<boolean> {
  const all = { 'content-type': 'application/json', ...headers }
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const response = await fetch(url, { method: 'POST', body, headers: all, signal }).catch(() => undefined)
  await response?.body?.cancel()
  return response?.ok === true
}

/** Logs when the collector stops taking records, and when it takes them again. */
function noteChanges(): (isTaken: boolean) => void {
  let wasTaken = true
  return (isTaken) => {
    if (isTaken && !wasTaken) logger().info('the collector takes log records again')
    if (!isTaken && wasTaken) logger().warn('the collector does not take log records, which are dropped and counted')
    wasTaken = isTaken
  }
}

/** https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber */
const severities: Record<string, number> = { trace: 1, debug: 5, info: 9, warn: 13, error: 17, fatal: 21 }
const HEAD = /^\{"level":"(\w+)","time":"([^"]+)"/
const TRACE = /"trace_id":"([0-9a-f]{32})"(?:,"span_id":"([0-9a-f]{16})")?/

/** A line as a record in OTLP's JSON. The members that every record has are read from the line's text: the collector does the full parsing. */
function toRecord(line: string): string[] {
  const head = HEAD.exec(line)
  if (!head) return []
  const [, level = '', time = ''] = head
  const [, traceId, spanId] = TRACE.exec(line) ?? []
  const severity = `"severityNumber":${severities[level] ?? 0},"severityText":"${level}"`
  const trace = traceId ? `,"traceId":"${traceId}"${spanId ? `,"spanId":"${spanId}"` : ''}` : ''
  const body = JSON.stringify(line.trimEnd())
  return [`{"timeUnixNano":"${Date.parse(time)}000000",${severity},"body":{"stringValue":${body}}${trace}}`]
}

/** The text before the records of a request and after them. */
function envelopeOf(resource: Record<string, string>): { head: string; tail: string } {
  const attributes = Object.entries(resource).map(([key, value]) => ({ key, value: { stringValue: value } }))
  const scope = { name: 'stock-management-service' }
  return {
    head: `{"resourceLogs":[{"resource":${JSON.stringify({ attributes })},"scopeLogs":[{"scope":${JSON.stringify(scope)},"logRecords":[`,
    tail: ']}]}]}',
  }
}
