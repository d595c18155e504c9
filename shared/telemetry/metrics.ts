import type { IncomingMessage, ServerResponse } from 'node:http'
import { Counter, collectDefaultMetrics, Gauge, Histogram, type OpenMetricsContentType, Registry } from 'prom-client'
import { contentTypes, expose, type Family, type Format } from './exposition.ts'
import { sampledTraceId } from './trace-context.ts'

const registry = new Registry<OpenMetricsContentType>()
// The driver keeps exemplars only with this content type. `expose` writes either format.
registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE)
let collectingDefaults = false

/**
 * A counter, whose name ends in `_total`. Label values must come from a bounded set.
 *
 * @example
 * const retries = counter('database_transaction_retries_total', 'Transactions run again, by reason.', ['reason'])
 * retries.inc({ reason: 'deadlock_detected' })
 */
export function counter<Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) {
  return new Counter({ name, help, labelNames: [...labelNames], registers: [registry] })
}

/** A gauge. `collect`, if given, sets it at each scrape. */
export function gauge<Label extends string>(
  name: string,
  help: string,
  labelNames: readonly Label[] = [],
  collect: () => void = () => {},
) {
  return new Gauge({ name, help, labelNames: [...labelNames], registers: [registry], collect })
}

/** In seconds, from 1 ms to 10 s: these fit a function's latencies. */
const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** A histogram. Durations are in seconds. */
export function histogram<Label extends string>(
  name: string,
  help: string,
  labelNames: readonly Label[] = [],
  buckets: number[] = LATENCY_BUCKETS,
) {
  return new Histogram({ name, help, labelNames: [...labelNames], buckets, registers: [registry] })
}

/**
 * A histogram of durations. Each bucket keeps the trace of its last observation, if the trace is recorded. Returns the observer for given labels.
 *
 * @example
 * const duration = tracedHistogram('function_duration_seconds', 'Time to answer a request.', ['function', 'status'])
 * duration({ function: 'get-stock', status: '200' })(0.004, traceparent)
 */
export function tracedHistogram<Label extends string>(name: string, help: string, labelNames: readonly Label[]) {
  const options = { name, help, labelNames: [...labelNames], buckets: LATENCY_BUCKETS, registers: [registry] }
  const traced = new Histogram({ ...options, enableExemplars: true })
  return (labels: Record<Label, string>) => {
    const { observe } = traced.labels(labels)
    return (value: number, traceparent: string | undefined) => {
      const traceId = sampledTraceId(traceparent)
      if (traceId === undefined) observe(value)
      else traced.observe({ labels, value, exemplarLabels: { trace_id: traceId } as object })
    }
  }
}

let lastUtilization = performance.eventLoopUtilization()
const utilization = gauge(
  'nodejs_eventloop_utilization_ratio',
  'Share of the time since the last scrape in which the event loop was busy.',
  [],
  () => {
    const now = performance.eventLoopUtilization()
    utilization.set(performance.eventLoopUtilization(now, lastUtilization).utilization)
    lastUtilization = now
  },
)

/** All metrics as text. From the first call on they include the process's own metrics. */
export async function renderMetrics(format: Format = 'prometheus'): Promise<string> {
  if (!collectingDefaults) {
    collectingDefaults = true
    collectDefaultMetrics({ register: registry })
  }
  // The driver's types lack the members of exemplars and buckets.
  return expose((await registry.getMetricsAsJSON()) as unknown as Family[], format)
}

/** Answers a scrape, in the OpenMetrics format if `Accept` names it. */
export async function answerScrape(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const format = req.headers.accept?.includes('application/openmetrics-text') ? 'openmetrics' : 'prometheus'
  const text = await renderMetrics(format)
  res.writeHead(200, { 'content-type': contentTypes[format], 'cache-control': 'no-store' })
  res.end(text)
}

/** The metrics that the loaded modules declare, for the documentation. */
export function declaredMetrics() {
  return registry.getMetricsAsArray().map((metric) => {
    const { name, help, type, labelNames } = metric as unknown as Family & { labelNames: string[] }
    return { name, help, type, labelNames }
  })
}
