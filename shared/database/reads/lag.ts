import { gauge } from '#telemetry'
import { type LogPosition, offsetOf } from '../transactions/token.ts'

const lagBytes = gauge(
  'database_replica_lag_bytes',
  'Log that the primary has written and the replica has not replayed.',
)
const lagSeconds = gauge('database_replica_lag_seconds', 'How long ago the primary was where the replica is now.')

/** Measures a replica's lag, look by look, for the metrics too. */
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

/** At a look a second, ten minutes. A replica further behind is as far behind as this. */
const SAMPLES_MAX = 600

/**
 * Measures how far behind a replica is in time: how long ago the primary's log was first seen to be longer than what the
 * replica has of it. The replica's own clock of its last transaction would tell how long the primary has been idle as well.
 */
export function createLagClock(now: () => number = () => performance.now()) {
  /** The primary's log at some moments, each further than the one before. */
  const samples: Array<{ at: number; offset: number }> = []
  return {
    /** Milliseconds; by offsets in bytes of the replica's and the primary's log. */
    measure(here: number, there: number): number {
      const at = now()
      const last = samples.at(-1)?.offset ?? -1
      // A shorter log is another primary's: what was promoted had not got all of it.
      if (there < last) samples.length = 0
      if (there !== last) samples.push({ at, offset: there })
      while (samples.length > 1 && (samples[0]?.offset ?? 0) <= here) samples.shift()
      if (samples.length > SAMPLES_MAX) samples.splice(1, 1)
      const oldest = samples.find(({ offset }) => offset > here)
      return oldest ? at - oldest.at : 0
    },
  }
}
