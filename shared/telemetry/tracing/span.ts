import type { Attributes, Span } from '@opentelemetry/api'
import type { CarriedTrace, TraceContext } from '../trace-context.ts'

export type { Attributes, Span }

export interface SpanOptions {
  /** Default: `internal`. */
  kind?: 'internal' | 'server' | 'client' | 'producer' | 'consumer'
  attributes?: Attributes
  /** Default: the span of the current work. null begins a new trace. */
  parent?: Span | CarriedTrace | null
  /** A trace that begins with links is recorded if one of the linked traces is. Beyond the limit of links, 128 by default, links are dropped. */
  links?: ReadonlyArray<Span | CarriedTrace>
  /** By `performance.now()`. */
  startedAt?: number
}

/** Spans, while tracing is on. */
export interface Tracing {
  /** Starts a span, which is recorded if the sampler says so. The caller must end it. */
  start: (name: string, options?: SpanOptions) => Span
  /** The span of the current work; undefined if there is none, or if it is not recorded. */
  current: () => Span | undefined
  /** The same span, recorded or not. */
  currentSpan: () => Span | undefined
  /** Makes `span` the current span of `work` and of everything that `work` calls and awaits. With undefined, the work has no trace. */
  run: <Result>(span: Span | undefined, work: () => Result) => Result
  stop: () => Promise<void>
}

/** A recorded span that has ended, for a keeper of spans in this process. */
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

/** Counts the outcomes of spans. */
export interface SpanCounts {
  exported: (spans: number) => void
  dropped: (spans: number, reason: 'queue_full' | 'export_failed') => void
}

/** `SpanStatusCode.ERROR`, from the part of the API that is loaded with the SDK. */
const ERROR = 2

/** The names of errors in a server's answer: of PostgreSQL, of Redis. A bundle may add a digit to a class's name. */
const ANSWERED = /^(Postgres|Reply)Error/

/**
 * Records why the span's work has failed. For an error in a server's answer it records only the code, since the message may quote the data that was
 * sent.
 */
export function failSpan(span: Span, error: unknown): void {
  const { name, message = String(error), code } = error as Partial<NodeJS.ErrnoException>
  span.setAttribute('error.type', String(code ?? name ?? 'unknown'))
  span.setStatus(ANSWERED.test(name ?? '') ? { code: ERROR } : { code: ERROR, message })
}

/** The trace that leads from a span to the work that it causes, with the baggage that is passed on. */
export function traceOf(span: Span, baggage?: string | null): TraceContext {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext()
  const flags = traceFlags.toString(16).padStart(2, '0')
  return {
    traceparent: `00-${traceId}-${spanId}-${flags}`,
    tracestate: traceState?.serialize() || undefined,
    baggage: baggage ?? undefined,
  }
}
