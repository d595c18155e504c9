import { onShutdown, withTimeout } from '#async'
import { baggageOf } from '../baggage.ts'
import { logger } from '../log.ts'
import { counter } from '../metrics.ts'
import { resourceOf, type Service } from '../resource.ts'
import { childTrace, type TraceContext } from '../trace-context.ts'
import { tracingSettings } from './settings.ts'
import {
  type FinishedSpan,
  failSpan,
  type Span,
  type SpanCounts,
  type SpanOptions,
  type Tracing,
  traceOf,
} from './span.ts'

const exported = counter('tracing_spans_exported_total', 'Spans that the collector has taken.')
const dropped = counter('tracing_spans_dropped_total', 'Spans dropped: too many waited, or the collector took none.', [
  'reason',
])

/** Long enough for a healthy collector to take the last spans, and short enough for a process that is about to end. */
const FLUSH_MAX_MS = 2_000

let current: Tracing | undefined

/**
 * Spans, or undefined while tracing is off. Tracing then costs only this check: arguments after `?.` are not evaluated.
 *
 * @example
 * tracing()?.current()?.addEvent('retry', { reason })
 */
export function tracing(): Tracing | undefined {
  return current
}

/**
 * Turns tracing on, until the shutdown, if the standard variables (`OTEL_*`) ask for it, or for `keep`, which gets each span. Call it before the
 * first request. Throws a ConfigError.
 */
export async function startTracing(service: Service, keep?: (span: FinishedSpan) => void): Promise<void> {
  const settings = tracingSettings()
  if ((!settings && !keep) || current) return
  const resource = resourceOf(service)
  // A separate chunk in a bundle: without tracing, nothing of OpenTelemetry is loaded.
  const { createTracing } = await import('./sdk.ts')
  const started = createTracing(resource, settings, countSpans(), keep)
  current = started
  onShutdown(async () => {
    current = undefined
    await withTimeout(FLUSH_MAX_MS, started.stop(), () => new Error('the collector takes too long')).catch((error) =>
      logger().warn({ err: error }, 'the last spans are lost'),
    )
  })
}

/** Logs when the collector stops taking spans, and when it takes them again. */
function countSpans(): SpanCounts {
  let isFailing = false
  const note = (fails: boolean, what: string) => {
    if (isFailing !== fails) logger()[fails ? 'warn' : 'info'](what)
    isFailing = fails
  }
  return {
    exported(spans) {
      exported.inc(spans)
      note(false, 'the collector takes spans again')
    },
    dropped(spans, reason) {
      dropped.inc({ reason }, spans)
      note(true, 'the collector does not take all spans, which are dropped and counted')
    },
  }
}

/** The trace of the current work's span, recorded or not. Undefined while tracing is off: then there is only the trace that was carried here. */
export function currentTrace(): TraceContext | undefined {
  const span = current?.currentSpan()
  return span && traceOf(span)
}

/** The trace of a request or an event: that of its span, or else of its own headers, with the part of their baggage that may be passed on. */
export function receivedTrace(headers: { get: (name: string) => string | null }): TraceContext {
  const baggage = baggageOf(headers.get('baggage'))
  const span = current?.currentSpan()
  return span ? traceOf(span, baggage) : childTrace(headers.get('traceparent'), headers.get('tracestate'), baggage)
}

/** Runs `work` in a span of its own, if the span of the current work is recorded. If `work` fails, the span fails too. */
export async function inSpan<Result>(name: string, options: SpanOptions, work: () => Promise<Result>): Promise<Result> {
  if (!current?.current()) return work()
  return endWith(current, current.start(name, options), work)
}

/** Runs `work` in `span`, and ends the span. */
export async function endWith<Result>(on: Tracing, span: Span, work: () => Promise<Result>): Promise<Result> {
  try {
    return await on.run(span, work)
  } catch (error) {
    failSpan(span, error)
    throw error
  } finally {
    span.end()
  }
}
