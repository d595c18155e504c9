import { pause } from '#async'
import { covers, type LogPosition } from '../transactions/token.ts'
import type { ReplicaProbe } from './replica-probe.ts'

/** How long a read with a token waits for the replica to catch up before it goes to the primary. */
export const REPLAY_WAIT_MS = 150
/** Reads that may wait for the replica. The others go to the primary, whose queue is bounded too. */
const WAITERS_MAX = 1_000
const POLL_MAX_MS = 20

export interface ReplayWaiters {
  /** Waits, at most 150 ms, until the replica has replayed `position`. */
  hasReplayed: (position: LogPosition) => Promise<boolean>
  /** Ends every wait with false. */
  giveUp: () => void
}

/** The reads that wait for the replica to catch up. One loop probes it for all of them; `onFailure` gets the error that ends the loop. */
export function createReplayWaiters(replica: ReplicaProbe, onFailure: (error: unknown) => void): ReplayWaiters {
  const waiting = new Map<(hasReplayed: boolean) => void, LogPosition>()
  let isPolling = false

  function hasReplayed(position: LogPosition): Promise<boolean> {
    const known = replica.lastKnown()
    if (known && covers(known, position)) return Promise.resolve(true)
    // A replica never returns to a timeline that it has left.
    if ((known && known.timeline > position.timeline) || waiting.size >= WAITERS_MAX) return Promise.resolve(false)
    return new Promise((resolve) => {
      const settle = (has: boolean) => {
        clearTimeout(timer)
        waiting.delete(settle)
        resolve(has)
      }
      const timer = setTimeout(settle, REPLAY_WAIT_MS, false)
      waiting.set(settle, position)
      if (!isPolling) void poll()
    })
  }

  async function poll(): Promise<void> {
    isPolling = true
    try {
      for (let pauseMs = 1; waiting.size > 0; pauseMs = Math.min(pauseMs * 2, POLL_MAX_MS)) {
        const here = await replica.probe()
        for (const [settle, position] of waiting) {
          if (!here.isInRecovery) settle(false)
          else if (covers(here, position)) settle(true)
        }
        if (waiting.size > 0) await pause(pauseMs)
      }
    } catch (error) {
      onFailure(error)
    } finally {
      isPolling = false
    }
  }

  function giveUp(): void {
    for (const settle of waiting.keys()) settle(false)
  }

  return { hasReplayed, giveUp }
}
