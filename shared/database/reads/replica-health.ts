import { databaseSettings } from '../connections/settings.ts'
import type { LogPosition } from '../transactions/token.ts'
import { createLagMeter } from './lag.ts'
import type { ReplicaStatus } from './replica-probe.ts'

/** Why reads avoid a replica: it does not answer, is too far behind, or has become a primary. */
export type UnhealthyReason = 'unreachable' | 'lagging' | 'promoted'

export interface ReplicaHealth {
  /** Undefined for a healthy replica. */
  reason: UnhealthyReason | undefined
  lagMs: number
}

/** Once the primary has been silent for this long, a lagging replica is better than nothing. */
const PRIMARY_SILENCE_MAX_MS = 5_000

/**
 * Evaluates the result of a probe of the replica together with the end of the primary's log at that moment (undefined while the primary does not
 * answer). It remembers the primary's last answer, and how its log grew.
 */
export function createHealthEvaluator(): (here: ReplicaStatus, there: LogPosition | undefined) => ReplicaHealth {
  const { DATABASE_REPLICA_LAG_MAX_BYTES, DATABASE_REPLICA_LAG_MAX_MS } = databaseSettings()
  const measureLag = createLagMeter()
  let lastHeard: { position: LogPosition; at: number } | undefined
  return (here, there) => {
    const now = performance.now()
    if (there) lastHeard = { position: there, at: now }
    if (!here.isInRecovery) return { reason: 'promoted', lagMs: 0 }
    if (!lastHeard || now - lastHeard.at > PRIMARY_SILENCE_MAX_MS) return { reason: undefined, lagMs: 0 }
    const { bytes, ms } = measureLag(here, lastHeard.position)
    const isTooFarBehind = bytes > DATABASE_REPLICA_LAG_MAX_BYTES || ms > DATABASE_REPLICA_LAG_MAX_MS
    return { reason: isTooFarBehind ? 'lagging' : undefined, lagMs: ms }
  }
}
