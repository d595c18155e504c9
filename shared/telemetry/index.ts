export { type Logger, logger } from './log.ts'
export { counter, gauge, histogram, metricsContentType, renderMetrics } from './metrics.ts'
export { countSecurityEvent, securityEvent, tellRepeated } from './security.ts'
export { childTrace, type TraceContext, traceIdOf } from './trace-context.ts'
