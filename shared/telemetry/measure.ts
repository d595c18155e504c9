import type { Gauge } from 'prom-client'
import { gauge } from './metrics.ts'

/** A measurement counts no further: the rest would cost the database more than it tells anyone. */
export const COUNT_MAX = 10_000

const measuredAt = gauge('backlog_measured_timestamp_seconds', 'When a part of the backlog was last measured.', ['of'])

/** A gauge that has no value until it is measured. One without labels would begin with 0. */
export function measuredGauge(name: string, help: string) {
  const declared = gauge(name, help)
  declared.remove({})
  return declared
}

/**
 * Runs a measurement that sets gauges. Where it fails they have no value, rather than one that is out of date, until it succeeds again.
 * Throws what it threw.
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
