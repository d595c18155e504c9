/** A cached value, which JSON can hold, and a token that it covers: the value may be newer than the token, but not older. */
export interface Entry {
  value: unknown
  asOf: string
  /** In milliseconds of the epoch, by the clock of the process that put the entry. After this time, the value is stale and is loaded again. */
  freshUntil: number
}

/** The key of an entry, and the group with which it is invalidated. */
export interface EntryKey {
  key: string
  group: string
}

export interface Found {
  entry?: Entry | undefined
  /** The token of the group's last invalidation: older values may neither be served nor cached. */
  watermark?: string | undefined
  /** True if this reader has the lease to load the value. Readers in other processes wait for it for a moment. */
  isLeased: boolean
}

/**
 * A cache with an invalidation watermark for each group, which only rises. An entry below its group's watermark is neither served nor accepted, so
 * a load that began before a change can't put the old value back after the change.
 */
export interface CacheStore {
  /** With `lease`, a miss tries to get the lease to load the value. */
  get: (entryKey: EntryKey, lease: boolean) => Promise<Found> | Found
  put: (entryKey: EntryKey, entry: Entry, ttlMs: number) => Promise<void> | void
  /** Ends a lease without a value. */
  release: (entryKey: EntryKey) => Promise<void> | void
  /** Raises the watermarks of groups to these tokens. */
  invalidate: (watermarks: ReadonlyMap<string, string>) => Promise<void> | void
  close: () => Promise<void> | void
}

/** Longer than any entry lives and any load takes: a watermark must outlive the entries below it. */
export const WATERMARK_TTL_MS = 120_000
/** How long a load may take before another process gets the lease. */
export const LEASE_MS = 2_000
