/** What is kept under a key: a value that JSON can hold, and a token for what it covers. It may be newer than that, but not older. */
export interface Entry {
  value: unknown
  asOf: string
  /** In milliseconds of the epoch, by the clock of whoever put it there: from then on it is served while it is loaded anew. */
  freshUntil: number
}

/** Where a value is: its key, and the group with which it is invalidated. */
export interface Place {
  key: string
  group: string
}

export interface Found {
  entry?: Entry | undefined
  /** Nothing older than this may be served or kept: the token of the group's last invalidation. */
  floor?: string | undefined
  /** True where this process is the one to load it: others wait for it, shortly. */
  isLeased: boolean
}

/**
 * A cache behind a fence: each group has a floor, which an invalidation raises and nothing lowers. An entry below its group's
 * floor is neither given nor taken, so a load that began before a change can't put the old value back after it.
 */
export interface CacheStore {
  /** With `lease`, a miss asks to be the one that loads. */
  get: (place: Place, lease: boolean) => Promise<Found> | Found
  put: (place: Place, entry: Entry, ttlMs: number) => Promise<void> | void
  /** Gives back a lease without a value. */
  release: (place: Place) => Promise<void> | void
  /** Raises the floor of groups: what they are by now is at `asOf` or past it. */
  invalidate: (groups: ReadonlyMap<string, string>) => Promise<void> | void
  close: () => Promise<void> | void
}

/** Longer than any entry lives, and than any load takes: an entry must not outlive the floor that it lies below. */
export const FLOOR_TTL_MS = 120_000
/** As long as a load may take; after that, another process may try. */
export const LEASE_MS = 2_000
