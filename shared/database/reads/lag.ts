import { gauge } from '#telemetry'
import { type LogPosition, offsetOf } from '../transactions/token.ts'

const lagBytes = gauge(
  'database_replica_lag_bytes',
  'Log that the primary has written and the replica has not replayed.',
)
const lagSeconds = gauge('database_replica_lag_seconds', 'How long ago the primary was where the replica is now.')

/** Measures a replica's lag at each probe, and sets the metrics. */
export function createLagMeter() {
  const clock = createLagClock()
  return (here: LogPosition, there: LogPosition): { bytes: number; ms: number } => {
    const bytes = Math.max(0, offsetOf(there.lsn) - offsetOf(here.lsn))
    const ms = clock.measure(offsetOf(here.lsn), offsetOf(there.lsn))
    lagBytes.set(bytes)
    lagSeconds.set(ms / 1_000)
    return { bytes, ms }
  }
}

/** At one probe a second, ten minutes. Older samples are thinned out. */
const SAMPLES_MAX = 600

/**
 * Measures a replica's lag in time: how long ago the primary's log was first seen to be longer than what the replica has replayed. The age of the
 * replica's last transaction would include the time in which the primary was idle.
 */
export function createLagClock(now: () => number = () => performance.now()) {
  /** Ends of the primary's log, each later than the one before. */
  const samples: Array<{ at: number; offset: number }> = []
  return {
    /** The lag in milliseconds, given the ends of the replica's and the primary's log as offsets in bytes. */
    measure(here: number, there: number): number {
      const at = now()
      const last = samples.at(-1)?.offset ?? -1
      // A shorter log belongs to another primary, which was promoted without all of the old primary's log.
      if (there < last) samples.length = 0
      if (there !== last) samples.push({ at, offset: there })
      while (samples.length > 1 && (samples[0]?.offset ?? 0) <= here) samples.shift()
      if (samples.length > SAMPLES_MAX) samples.splice(1, 1)
      const oldest = samples.find(({ offset }) => offset > here)
      return oldest ? at - oldest.at : 0
    },
  }
}
