import { jittered, pause, startLoop } from '#async'
import { logger } from '#telemetry'
import { primary, replicaReaders, resetReplica } from '../connections/connections.ts'
import { withServerTimeout } from '../connections/driver/server-timeout.ts'
import type { Readers } from '../connections/readers.ts'
import { currentPosition, type LogPosition } from '../transactions/token.ts'
import { createReplayWaiters, REPLAY_WAIT_MS } from './replay-waiters.ts'
import { createHealthEvaluator, type UnhealthyReason } from './replica-health.ts'
import { createReplicaProbe, type ReplicaStatus } from './replica-probe.ts'
import { createRotation } from './replica-rotation.ts'

/** Time between two checks, varied at random by up to half, so that processes do not probe in step. */
const CHECK_MS = 1_000
/** A replica whose probe takes longer is unreachable. */
const PROBE_MAX_MS = 1_000

export interface ReplicaMonitor {
  /** The replica's connections while it is in rotation. The first call waits, at most 150 ms, for the first check. */
  inRotation: () => Promise<Readers | undefined>
  /** How far behind the replica was at the last check. */
  lagMs: () => number
  /** A position that the replica is known to have replayed. It may be further by now. */
  replayed: () => LogPosition | undefined
  /** Waits, at most 150 ms, until the replica has replayed `position`. */
  hasReplayed: (position: LogPosition) => Promise<boolean>
  /** Checks the replica now, because a read on it has failed or was slow: the check decides, not the read. Returns whether it is in rotation. */
  suspect: () => Promise<boolean>
  stop: () => void
}

/** Checks the replica once a second, and takes it out of rotation and back in. */
export function monitorReplica(): ReplicaMonitor {
  const replica = createReplicaProbe()
  const evaluate = createHealthEvaluator()
  const rotation = createRotation()
  const waiters = createReplayWaiters(replica, onUnreachable)
  let lagMs = 0
  let checking: Promise<void> | undefined
  const firstCheck = check()
  const checks = startLoop(() => check().then(() => jittered(CHECK_MS)), { ref: false })

  function check(): Promise<void> {
    checking ??= Promise.all([withServerTimeout(PROBE_MAX_MS, replica.probe), positionOfPrimary()])
      .then(([here, there]) => onStatus(here, there), onUnreachable)
      .finally(() => {
        checking = undefined
      })
    return checking
  }

  function onStatus(here: ReplicaStatus, there: LogPosition | undefined): void {
    if (checks.isStopped()) return
    const health = evaluate(here, there)
    lagMs = health.lagMs
    if (health.reason === undefined) rotation.add()
    else if (health.reason === 'lagging') rotation.remove('lagging')
    else turnAway(health.reason)
  }

  function onUnreachable(error: unknown): void {
    if (checks.isStopped()) return
    logger().debug({ err: error }, 'the replica does not answer')
    turnAway('unreachable')
  }

  /**
   * Takes the replica out of rotation until a check finds it healthy, and ends the statements and waits on it. If DATABASE_REPLICA_URL names
   * several servers, the next check is of the next server.
   */
  function turnAway(reason: UnhealthyReason): void {
    rotation.remove(reason)
    replica.forget()
    resetReplica()
    waiters.giveUp()
  }

  return {
    async inRotation() {
      if (!rotation.isDecided()) await Promise.race([firstCheck, pause(REPLAY_WAIT_MS, undefined, { ref: false })])
      return rotation.hasReplica() ? replicaReaders() : undefined
    },
    lagMs: () => lagMs,
    replayed: replica.lastKnown,
    hasReplayed: waiters.hasReplayed,
    suspect: () => check().then(rotation.hasReplica),
    stop: () => void checks.stop(),
  }
}

/** The end of the primary's log; undefined while the primary does not answer. */
async function positionOfPrimary(): Promise<LogPosition | undefined> {
  try {
    const [position] = await withServerTimeout(PROBE_MAX_MS, () => currentPosition(primary()))
    return position
  } catch {
    return undefined
  }
}
