import { TraceFlags } from '@opentelemetry/api'
import { BatchSpanProcessor, type SpanExporter, type SpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { SpanCounts } from './span.ts'

/** `ExportResultCode.SUCCESS` */
const SUCCESS = 0

/**
 * The SDK's batches, with a count of each span's outcome. The waiting spans and those being sent are at most `spansMax` together. Further spans are
 * dropped here, since the SDK drops them silently.
 */
export function createProcessor(exporter: SpanExporter, spansMax: number, counts: SpanCounts): SpanProcessor {
  let unsent = 0
  const batches = new BatchSpanProcessor({
    export(spans, done) {
      exporter.export(spans, (result) => {
        unsent -= spans.length
        if (result.code === SUCCESS) counts.exported(spans.length)
        else counts.dropped(spans.length, 'export_failed')
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
  })
  return {
    onStart: () => {},
    onEnd(span) {
      if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return
      if (unsent >= spansMax) {
        counts.dropped(1, 'queue_full')
        return
      }
      unsent++
      batches.onEnd(span)
    },
    forceFlush: () => batches.forceFlush(),
    // Spans that could not be sent are counted.
    shutdown: () => batches.shutdown().catch(() => {}),
  }
}
