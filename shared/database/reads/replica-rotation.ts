import { counter, logger, measuredGauge } from '#telemetry'
import type { UnhealthyReason } from './replica-health.ts'

export interface Rotation {
  /** False until the first probe has been evaluated. */
  isDecided: () => boolean
  hasReplica: () => boolean
  add: () => void
  remove: (reason: UnhealthyReason) => void
}

const inRotation = measuredGauge(
  'database_replica_in_rotation',
  'Whether reads go to the replica; nothing of a process that has not read yet.',
)
const removals = counter('database_replica_removals_total', 'Removals of the replica from rotation, by reason.', [
  'reason',
])

/** Whether reads go to the replica, for this process, its metrics and its log. */
export function createRotation(): Rotation {
  let state: 'undecided' | 'in' | UnhealthyReason = 'undecided'
  return {
    isDecided: () => state !== 'undecided',
    hasReplica: () => state === 'in',
    add() {
      if (state !== 'in' && state !== 'undecided') logger().info('replica returned to rotation')
      state = 'in'
      inRotation.set(1)
    },
    remove(reason) {
      // Once it is out, no further removal is reported: of several servers, one may be away, and another one the primary.
      if (state === 'in' || state === 'undecided') {
        removals.inc({ reason })
        logger().warn({ reason }, 'replica removed from rotation')
      }
      state = reason
      inRotation.set(0)
    },
  }
}
