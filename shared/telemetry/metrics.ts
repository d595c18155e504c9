import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

const registry = new Registry()
let collectingDefaults = false

export const metricsContentType = registry.contentType

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

/** A histogram. Durations are in seconds; the default buckets, from 1 ms to 10 s, fit a function's latencies. */
export function histogram<Label extends string>(
  name: string,
  help: string,
  labelNames: readonly Label[] = [],
  buckets: number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
) {
  return new Histogram({ name, help, labelNames: [...labelNames], buckets, registers: [registry] })
}

/** All metrics in the Prometheus text format. From the first call on they include the process's own. */
export async function renderMetrics(): Promise<string> {
  if (!collectingDefaults) {
    collectingDefaults = true
    collectDefaultMetrics({ register: registry })
  }
  return registry.metrics()
}
