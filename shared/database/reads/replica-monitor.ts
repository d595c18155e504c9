import { jittered, pause, startLoop } from '#async'
import { counter, gauge, logger } from '#telemetry'
import { primary, replicaEpoch, replicaReaders, replicaToWatch, resetReplica } from '../connections/connections.ts'
import type { Readers } from '../connections/readers.ts'
import { databaseSettings } from '../connections/settings.ts'
import { within } from '../connections/within.ts'
import { covers, currentPosition, type LogPosition } from '../transactions/token.ts'
import { createLagMeter } from './lag.ts'

/** Why nobody reads from a replica: it does not answer, is too far behind, or has become a primary of its own. */
type Absence = 'unreachable' | 'lagging' | 'promoted'

/** How far the replica had replayed the log when it was looked at, and on which connections that was. */
interface Sight extends LogPosition {
  isInRecovery: boolean
  epoch: number
}

/** Between two looks at the replica: half as much again or less, at random, so that processes don't look in step. */
const CHECK_MS = 1_000
/** A look that takes longer finds the replica stalled. */
const LOOK_MAX_MS = 1_000
/** How long a read with a token waits for the replica to catch up before it goes to the primary. */
const REPLAY_WAIT_MS = 150
/** Reads that may wait for that; past it they go to the primary, and wait there in a queue that is bounded too. */
const WAITERS_MAX = 1_000
const POLL_MAX_MS = 20
/** How long the primary may stay silent until a replica that is behind is better than nothing. */
const PRIMARY_SILENCE_MAX_MS = 5_000

const rotation = gauge('database_replica_in_rotation', 'Whether reads go to the replica.')
const absences = counter('database_replica_absences_total', 'Times that the replica left rotation, by reason.', [
  'reason',
])

const looks = counter('database_replica_looks_total', 'Times that the replica was asked how far it is.')

export interface ReplicaWatch {
  /** The replica's connections while it may be read from. The first call waits, shortly, for the first look at it. */
  inRotation: () => Promise<Readers | undefined>
  /** How far behind it was at the last look. */
  lagMs: () => number
  /** A position that the replica is known to have replayed; it may be further by now. */
  replayed: () => LogPosition | undefined
  /** Waits, at most 150 ms, until it has replayed `position`. One loop looks for all who wait. */
  hasReplayed: (position: LogPosition) => Promise<boolean>
  /** Looks at the replica now, since a read on it has failed, or was slow: the look decides, not the read. Tells whether it is well. */
  suspect: () => Promise<boolean>
  stop: () => void
}

/** Watches the replica: looks at it once a second, and takes it out of rotation and back in. */
export function watchReplica(): ReplicaWatch {
  const { DATABASE_REPLICA_LAG_MAX_BYTES, DATABASE_REPLICA_LAG_MAX_MS } = databaseSettings()
  const measureLag = createLagMeter()
  const waiting = new Map<(hasReplayed: boolean) => void, LogPosition>()
  let sight: Sight | undefined
  // Nothing is known before the first look.
  let absence: Absence | 'unknown' | undefined = 'unknown'
  let lagMs = 0
  let isPolling = false
  let lastHeard: { position: LogPosition; at: number } | undefined
  let checking: Promise<void> | undefined
  const firstLook = check()
  const checks = startLoop(
    async () => {
      await check()
      return jittered(CHECK_MS)
    },
    { ref: false },
  )

  function check(): Promise<void> {
    checking ??= Promise.all([within(LOOK_MAX_MS, look), positionOfPrimary()])
      .then(([here, there]) => judge(here, there), failed)
      .finally(() => {
        checking = undefined
      })
    return checking
  }

  async function look(): Promise<Sight> {
    looks.inc()
    const epoch = replicaEpoch()
    // Where it streams, the timeline is that of the stream; its control file tells of the last restart point only.
    const [row] = await replicaToWatch()<[LogPosition & { isInRecovery: boolean }]>`
      select pg_is_in_recovery() as "isInRecovery", coalesce(pg_last_wal_replay_lsn(), '0/0')::text as lsn,
             coalesce((select received_tli from pg_stat_wal_receiver), timeline_id) as timeline
      from pg_control_checkpoint()`
    sight = { ...row, epoch }
    return sight
  }

  function judge(here: Sight, there: LogPosition | undefined): void {
    if (checks.isStopped()) return
    const now = performance.now()
    if (there) lastHeard = { position: there, at: now }
    lagMs = 0
    if (!here.isInRecovery) leave('promoted')
    else if (!lastHeard || now - lastHeard.at > PRIMARY_SILENCE_MAX_MS) join()
    else if (isTooFarBehind(here, lastHeard.position)) leave('lagging')
    else join()
  }

  function isTooFarBehind(here: LogPosition, there: LogPosition): boolean {
    const { bytes, ms } = measureLag(here, there)
    lagMs = ms
    return bytes > DATABASE_REPLICA_LAG_MAX_BYTES || ms > DATABASE_REPLICA_LAG_MAX_MS
  }

  function leave(reason: Absence): void {
    if (absence !== reason) {
      absences.inc({ reason })
      logger().warn({ reason }, 'reads leave the replica')
    }
    absence = reason
    rotation.set(0)
  }

  function join(): void {
    if (absence !== undefined && absence !== 'unknown') logger().info('reads go to the replica again')
    absence = undefined
    rotation.set(1)
  }

  /** Takes the replica out of rotation, with whatever waits on it, until a look finds it well. */
  function failed(error: unknown): void {
    if (checks.isStopped()) return
    logger().debug({ err: error }, 'the replica does not answer')
    leave('unreachable')
    sight = undefined
    resetReplica()
    for (const tell of waiting.keys()) tell(false)
  }

  function replayed(): Sight | undefined {
    return sight?.epoch === replicaEpoch() ? sight : undefined
  }

  function hasReplayed(position: LogPosition): Promise<boolean> {
    const known = replayed()
    if (known && covers(known, position)) return Promise.resolve(true)
    // A timeline that the replica has left behind it will never come to.
    if ((known && known.timeline > position.timeline) || waiting.size >= WAITERS_MAX) return Promise.resolve(false)
    return new Promise((resolve) => {
      const tell = (has: boolean) => {
        clearTimeout(timer)
        waiting.delete(tell)
        resolve(has)
      }
      const timer = setTimeout(tell, REPLAY_WAIT_MS, false)
      waiting.set(tell, position)
      if (!isPolling) void poll()
    })
  }

  async function poll(): Promise<void> {
    isPolling = true
    try {
      for (let pauseMs = 1; waiting.size > 0; pauseMs = Math.min(pauseMs * 2, POLL_MAX_MS)) {
        const here = await look()
        for (const [tell, position] of waiting) {
          if (!here.isInRecovery) tell(false)
          else if (covers(here, position)) tell(true)
        }
        if (waiting.size > 0) await pause(pauseMs)
      }
    } catch (error) {
      failed(error)
    } finally {
      isPolling = false
    }
  }

  return {
    async inRotation() {
      if (absence === 'unknown') await Promise.race([firstLook, pause(REPLAY_WAIT_MS, undefined, { ref: false })])
      return absence === undefined ? replicaReaders() : undefined
    },
    lagMs: () => lagMs,
    replayed,
    hasReplayed,
    suspect: async () => {
      await check()
      return absence === undefined
    },
    stop: () => void checks.stop(),
  }
}

/** Where the primary's log ends; undefined while it does not answer. */
async function positionOfPrimary(): Promise<LogPosition | undefined> {
  try {
    const [position] = await within(LOOK_MAX_MS, () => currentPosition(primary()))
    return position
  } catch {
    return undefined
  }
}
