/** The first entry of a key that is not done. */
export interface WaitingHead {
  key: string
  position: number
  /** The number of attempts at it that have begun. */
  attempts: number
}

/** How far a group has come in a partition. The progress outlives the process. */
export interface Progress {
  /** Everything up to here is done. */
  position: number
  /** Attempts that have begun at the first entry after `position` that is not done. */
  attempts: number
  /** If some entries wait: everything up to `passed` is done too, except for the waiting entries and those behind them of the same keys. */
  ahead: { passed: number; waiting: WaitingHead[] } | null
}

interface Placed {
  key: string
  position: number
}

/** What an earlier follower had done beyond its position, and the progress of the follower that continues from there. */
export interface Resumption {
  isDone: (entry: Placed) => boolean
  /** Attempts that an earlier follower has begun. */
  attemptsAt: (entry: Placed) => number
  /**
   * The progress after the entries up to `read` were added. `undone` contains the entries that do not wait; `first` is the position of the first
   * one.
   */
  progress: (read: number, heads: WaitingHead[], first: number | undefined, undone: readonly Placed[]) => Progress
}

export function createResumption({ position, attempts, ahead }: Progress): Resumption {
  const until = ahead?.passed ?? position
  const started = new Map(ahead?.waiting.map((head) => [head.key, head.position]))
  const begun = new Map(ahead?.waiting.map((head) => [head.position, head.attempts]))
  const lowest = ahead?.waiting[0]
  if (lowest) begun.set(lowest.position, Math.max(lowest.attempts, attempts))
  let attemptsAtFirst = lowest ? 0 : attempts

  /** Until everything that was passed has been read again, the keys of the earlier waiting entries may have more entries in the rest. */
  function unread(read: number, heads: WaitingHead[], undone: readonly Placed[]): WaitingHead[] {
    return [...started].flatMap(([key, from]) => {
      if (heads.some((head) => head.key === key)) return []
      const next = undone.find((entry) => entry.key === key)?.position ?? Math.max(from, read + 1)
      return [{ key, position: next, attempts: begun.get(next) ?? 0 }]
    })
  }

  return {
    isDone: ({ key, position: at }) => at <= until && at < (started.get(key) ?? Number.POSITIVE_INFINITY),
    attemptsAt({ position: at }) {
      const count = attemptsAtFirst || (begun.get(at) ?? 0)
      attemptsAtFirst = 0
      return count
    },
    progress(read, heads, first, undone) {
      const isReadAgain = read >= until
      const waiting = isReadAgain ? heads : [...heads, ...unread(read, heads, undone)]
      const passed = isReadAgain ? (first ?? read + 1) - 1 : until
      waiting.sort((a, b) => a.position - b.position)
      const [head] = waiting
      const done = Math.min(passed, (head?.position ?? passed + 1) - 1)
      const isFirst = head !== undefined && (first === undefined || head.position <= first)
      const isPlain = passed === done && (head === undefined || (waiting.length === 1 && isFirst))
      return { position: done, attempts: isFirst ? head.attempts : 0, ahead: isPlain ? null : { passed, waiting } }
    },
  }
}

/** How far a consumer group is behind the end of a topic. */
export interface Lag {
  events: number
  /** How long the group's next event has been in the log; 0 if there is none. */
  seconds: number
}
