import type { Attributes, Span } from '@opentelemetry/api'
import type { CarriedTrace, TraceContext } from '../trace-context.ts'

export type { Attributes, Span }

export interface SpanOptions {
  /** Default: `internal`. */
  kind?: 'internal' | 'server' | 'client' | 'producer' | 'consumer'
  attributes?: Attributes
  /** Default: the span of the current work. null begins a trace. */
  parent?: Span | CarriedTrace | null
  /** A trace that begins with links is recorded if one of those is. Past the limit of links, 128 by default, the rest is dropped. */
  links?: ReadonlyArray<Span | CarriedTrace>
  /** By `performance.now()`. */
  startedAt?: number
}

/** Spans, while tracing is on. */
export interface Tracing {
  /** Starts a span, which is recorded if the sampler says so. Whoever starts it ends it. */
  start: (name: string, options?: SpanOptions) => Span
  /** The span of the current work; undefined if there is none, or if it is not recorded. */
  current: () => Span | undefined
  /** The same, recorded or not. */
  currentSpan: () => Span | undefined
  /** Makes `span` that of the work and of all that it calls and awaits; undefined: makes it work of no trace. */
  run: <Result>(span: Span | undefined, work: () => Result) => Result
  stop: () => Promise<void>
}

/** A recorded span that has ended, for who keeps spans in this process. */
export interface FinishedSpan {
  traceId: string
  spanId: string
  parentSpanId: string | undefined
  name: string
  /** Since the epoch. */
  startMs: number
  durationMs: number
  isFailed: boolean
  events: string[]
  linkedTraceIds: string[]
}

/** What becomes of spans. */
export interface SpanCounts {
  exported: (spans: number) => void
  dropped: (spans: number, reason: 'queue_full' | 'export_failed') => void
}

/** `SpanStatusCode.ERROR`, of the part of the API that is loaded with the SDK. */
const ERROR = 2

/** The names of errors that a server has answered with: of PostgreSQL, of Redis. A bundle may add a digit to a class's name. */
const ANSWERED = /^(Postgres|Reply)Error/

/** Says why the span's work has failed: of an error that a server has answered with, its code alone, as its message may quote what it was sent. */
export function failSpan(span: Span, error: unknown): void {
  const { name, message = String(error), code } = error as Partial<NodeJS.ErrnoException>
  span.setAttribute('error.type', String(code ?? name ?? 'unknown'))
  span.setStatus(ANSWERED.test(name ?? '') ? { code: ERROR } : { code: ERROR, message })
}

/** The trace that leads from a span to what it causes, with the baggage that goes on. */
export function traceOf(span: Span, baggage?: string | null): TraceContext {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext()
  const flags = traceFlags.toString(16).padStart(2, '0')
  return {
    traceparent: `00-${traceId}-${spanId}-${flags}`,
    tracestate: traceState?.serialize() || undefined,
    baggage: baggage ?? undefined,
  }
}
