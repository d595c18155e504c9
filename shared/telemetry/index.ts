export { baggageKeys, baggageOf } from './baggage.ts'
export { followLines, formatLines, type Logger, logger, logSettings, writeAccessLine } from './log.ts'
export { COUNT_MAX, measure, measuredGauge } from './measure.ts'
export { answerScrape, counter, declaredMetrics, gauge, histogram, renderMetrics, tracedHistogram } from './metrics.ts'
export { startLogExport } from './otlp-logs.ts'
export { logFault, logRefusal } from './refusals.ts'
export { countSecurityEvent, logRepeated, securityEvent } from './security.ts'
export { flushLog } from './stdout.ts'
export {
  type CarriedTrace,
  childTrace,
  type StoredTrace,
  type TraceContext,
  traceIdOf,
} from './trace-context.ts'
export {
  inSendSpans,
  isRecorded,
  type Message,
  startProcess,
  startProcessTogether,
  traceHeaders,
  traceOfMessage,
} from './tracing/messages.ts'
export {
  type Attributes,
  type FinishedSpan,
  failSpan,
  type Span,
  type SpanOptions,
  type Tracing,
  traceOf,
} from './tracing/span.ts'
export { currentTrace, endWith, inSpan, receivedTrace, startTracing, tracing } from './tracing/tracing.ts'
