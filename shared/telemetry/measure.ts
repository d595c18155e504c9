import type { Gauge } from 'prom-client'
import { gauge } from './metrics.ts'

/** A measurement counts up to this: counting the rest would cost the database more than the number is worth. */
export const COUNT_MAX = 10_000

const measuredAt = gauge('backlog_measured_timestamp_seconds', 'When a part of the backlog was last measured.', ['of'])

/** A gauge that has no value until it is measured. A gauge without labels would otherwise begin with 0. */
export function measuredGauge(name: string, help: string) {
  const declared = gauge(name, help)
  declared.remove({})
  return declared
}

/**
 * Runs a measurement that sets gauges. If it fails, the gauges have no value instead of an outdated one, until it succeeds again. Throws the
 * measurement's error.
 */
export async function measure(of: string, gauges: ReadonlyArray<Gauge>, work: () => Promise<void>): Promise<void> {
  try {
    await work()
    measuredAt.set({ of }, Date.now() / 1000)
  } catch (error) {
    for (const each of gauges) {
      each.reset()
      each.remove({})
    }
    throw error
  }
}
