import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import {
  type Context,
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
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { AlwaysOnSampler, BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import { type CarriedTrace, parseTraceparent } from '../trace-context.ts'
import { createKeeper } from './keeper.ts'
import { createProcessor } from './processor.ts'
import { createSampler } from './sampler.ts'
import type { TracingSettings } from './settings.ts'
import type { FinishedSpan, Service, SpanCounts, SpanOptions, Tracing } from './span.ts'

// The entry of a chunk of its own. It imports nothing that has a state and is in the bundle as well.

/** Spans by the SDK of OpenTelemetry, sent to a collector by OTLP over HTTP where there are settings, and handed to `keep`. Nothing global is registered: these are all that make spans. */
export function createTracing(
  service: Service,
  settings: TracingSettings | undefined,
  counts: SpanCounts,
  keep?: (span: FinishedSpan) => void,
): Tracing {
  const provider = new BasicTracerProvider({
    resource: resourceOf(service),
    sampler: settings ? createSampler(settings) : new AlwaysOnSampler(),
    spanProcessors: [
      ...(settings ? [createProcessor(new OTLPTraceExporter(), settings.spansMax, counts)] : []),
      ...(keep ? [createKeeper(keep)] : []),
    ],
  })
  const tracer = provider.getTracer('stock-management-service')
  const working = new AsyncLocalStorage<Context>()
  const activeSpan = () => {
    const context = working.getStore()
    return context && trace.getSpan(context)
  }
  return {
    start(name, { kind = 'internal', attributes, parent, links, startedAt }: SpanOptions = {}) {
      const context = parent === undefined ? (working.getStore() ?? ROOT_CONTEXT) : contextOf(parent)
      return tracer.startSpan(
        name,
        {
          kind: kinds[kind],
          ...(attributes && { attributes }),
          ...(links && { links: links.flatMap(toLink) }),
          ...(startedAt !== undefined && { startTime: startedAt }),
        },
        context,
      )
    },
    current() {
      const span = activeSpan()
      return span?.isRecording() ? span : undefined
    },
    currentSpan: activeSpan,
    run: (span, work) => working.run(span ? trace.setSpan(ROOT_CONTEXT, span) : ROOT_CONTEXT, work),
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

/** What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes first. */
function resourceOf({ name, version }: Service) {
  const own = resourceFromAttributes({
    'service.name': name,
    'service.instance.id': randomUUID(),
    ...(version && { 'service.version': version }),
  })
  return defaultResource()
    .merge(own)
    .merge(detectResources({ detectors: [envDetector] }))
}

function contextOf(parent: Span | CarriedTrace | null): Context {
  if (parent === null) return ROOT_CONTEXT
  if ('spanContext' in parent) return trace.setSpan(ROOT_CONTEXT, parent)
  const remote = spanContextOf(parent)
  return remote ? trace.setSpanContext(ROOT_CONTEXT, remote) : ROOT_CONTEXT
}

function toLink(to: Span | CarriedTrace): Link[] {
  const context = 'spanContext' in to ? to.spanContext() : spanContextOf(to)
  return context ? [{ context }] : []
}

/** Undefined for a trace that is not as https://www.w3.org/TR/trace-context/ has it. */
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
