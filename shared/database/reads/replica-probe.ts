import { counter } from '#telemetry'
import { replicaEpoch, replicaForProbes } from '../connections/connections.ts'
import type { LogPosition } from '../transactions/token.ts'

/** The result of a probe: how far the replica had replayed the log, and the epoch of the connections that the probe used. */
export interface ReplicaStatus extends LogPosition {
  isInRecovery: boolean
  epoch: number
}

export interface ReplicaProbe {
  /** Asks the replica for its status. Throws if it does not answer. */
  probe: () => Promise<ReplicaStatus>
  /** The result of the last probe, as long as the replica's connections are still the same. */
  lastKnown: () => ReplicaStatus | undefined
  forget: () => void
}

const probes = counter('database_replica_probes_total', 'Probes of the replica.')

export function createReplicaProbe(): ReplicaProbe {
  let last: ReplicaStatus | undefined
  return {
    async probe() {
      probes.inc()
      const epoch = replicaEpoch()
      // While the replica streams, its timeline is that of the stream. Its control file has only the timeline of the last restart point.
      const [row] = await replicaForProbes()<[LogPosition & { isInRecovery: boolean }]>`
        select pg_is_in_recovery() as "isInRecovery", coalesce(pg_last_wal_replay_lsn(), '0/0')::text as lsn,
               coalesce((select received_tli from pg_stat_wal_receiver), timeline_id) as timeline
        from pg_control_checkpoint()`
      last = { ...row, epoch }
      return last
    },
    lastKnown: () => (last?.epoch === replicaEpoch() ? last : undefined),
    forget() {
      last = undefined
    },
  }
}
