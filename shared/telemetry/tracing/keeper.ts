import type { HrTime } from '@opentelemetry/api'
import type { ReadableSpan, SpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { FinishedSpan } from './span.ts'

/** `SpanStatusCode.ERROR` */
const ERROR = 2

/** Passes each recorded span that ends to `keep`, in this process. */
export function createKeeper(keep: (span: FinishedSpan) => void): SpanProcessor {
  return {
    onStart: () => {},
    onEnd: (span) => keep(finishedSpan(span)),
    forceFlush: async () => {},
    shutdown: async () => {},
  }
}

function finishedSpan(span: ReadableSpan): FinishedSpan {
  const { traceId, spanId } = span.spanContext()
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    name: span.name,
    startMs: milliseconds(span.startTime),
    durationMs: milliseconds(span.duration),
    isFailed: span.status.code === ERROR,
    events: span.events.map(({ name }) => name),
    linkedTraceIds: [...new Set(span.links.map(({ context }) => context.traceId))],
  }
}

function milliseconds([seconds, nanoseconds]: HrTime): number {
  return seconds * 1_000 + nanoseconds / 1_000_000
}
