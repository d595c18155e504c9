import { AsyncLocalStorage } from 'node:async_hooks'
import {
  createTraceState,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  TraceFlags,
  trace,
} from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources'
import { AlwaysOnSampler, BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import { type CarriedTrace, newIds, parseTraceparent } from '../trace-context.ts'
import { createKeeper } from './keeper.ts'
import { createProcessor } from './processor.ts'
import { createSampler } from './sampler.ts'
import type { TracingSettings } from './settings.ts'
import type { FinishedSpan, SpanCounts, Tracing } from './span.ts'

// The entry of a chunk of its own. The modules that it imports have no state that the bundle must share.

/**
 * Spans by the SDK of OpenTelemetry, sent to a collector by OTLP over HTTP if there are settings, and passed to `keep`. Nothing is registered
 * globally: only this object makes spans.
 */
export function createTracing(
  resource: Record<string, string>,
  settings: TracingSettings | undefined,
  counts: SpanCounts,
  keep?: (span: FinishedSpan) => void,
): Tracing {
  const isRecorded = settings ? createSampler(settings) : () => true
  /** The ids of the span that is being started: drawn before the SDK asks for them. */
  let ids = newIds()
  const provider = new BasicTracerProvider({
    resource: defaultResource().merge(resourceFromAttributes(resource)),
    // `start` has already decided.
    sampler: new AlwaysOnSampler(),
    idGenerator: { generateTraceId: () => ids.traceId, generateSpanId: () => ids.spanId },
    spanProcessors: [
      ...(settings ? [createProcessor(new OTLPTraceExporter(), settings.spansMax, counts)] : []),
      ...(keep ? [createKeeper(keep)] : []),
    ],
  })
  const tracer = provider.getTracer('stock-management-service')
  const working = new AsyncLocalStorage<Span | undefined>()
  return {
    // Decides before it asks the SDK, which does more for an unrecorded span than all of this code. Most spans are not recorded.
    start(name, { kind = 'internal', attributes, parent = working.getStore(), links = [], startedAt } = {}) {
      const from = parent ? contextOf(parent) : undefined
      const linked = links.length > 0 ? links.flatMap(toLink) : []
      ids = newIds()
      const traceId = from?.traceId ?? ids.traceId
      if (!isRecorded(from, traceId, linked)) {
        const { traceState } = from ?? {}
        const { spanId } = ids
        return trace.wrapSpanContext({
          traceId,
          spanId,
          traceFlags: TraceFlags.NONE,
          ...(traceState && { traceState }),
        })
      }
      return tracer.startSpan(
        name,
        {
          kind: kinds[kind],
          links: linked,
          ...(attributes && { attributes }),
          ...(startedAt !== undefined && { startTime: startedAt }),
        },
        from ? trace.setSpanContext(ROOT_CONTEXT, from) : ROOT_CONTEXT,
      )
    },
    current() {
      const span = working.getStore()
      return span?.isRecording() ? span : undefined
    },
    currentSpan: () => working.getStore(),
    run: (span, work) => working.run(span, work),
    stop: () => provider.shutdown(),
  }
}

const kinds = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const

function contextOf(span: Span | CarriedTrace): SpanContext | undefined {
  return 'spanContext' in span ? span.spanContext() : spanContextOf(span)
}

function toLink(to: Span | CarriedTrace): Link[] {
  const context = contextOf(to)
  return context ? [{ context }] : []
}

/** Undefined for a trace that does not follow https://www.w3.org/TR/trace-context/ */
function spanContextOf({ traceparent, tracestate }: CarriedTrace): SpanContext | undefined {
  const parsed = parseTraceparent(traceparent)
  if (!parsed) return undefined
  const { traceId, spanId, flags } = parsed
  return {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED,
    isRemote: true,
    ...(tracestate && { traceState: createTraceState(tracestate) }),
  }
}
