/** The window is five minutes. Its oldest bucket is dropped as a whole. */
const BUCKET_MS = 10_000
const BUCKETS = 30
/** A bin is 9 % wide, so its middle is at most 4.5 % off. The first bin begins at 1/32 ms, the last one ends at 131 s. */
const BINS_PER_DOUBLING = 8
const FIRST_BIN = -5 * BINS_PER_DOUBLING
const BINS = 22 * BINS_PER_DOUBLING

/** What a function has answered in the last five minutes. */
export interface RecentTraffic {
  requests: number
  /** Answers of 5xx. */
  errors: number
  /** By the nearest rank; null if nothing was answered. */
  p50Ms: number | null
  p99Ms: number | null
}

export interface Traffic {
  /** Counts an answer. Both times are in milliseconds, `nowMs` by the clock of `performance.now()`. */
  add: (status: number, durationMs: number, nowMs: number) => void
  recent: (nowMs: number) => RecentTraffic
}

interface Bucket {
  /** The number of its ten seconds, counted from the start of the process. */
  period: number
  errors: number
  /** Answers by their duration. */
  bins: Uint32Array
}

/** Counts a function's answers of the last five minutes, in 22 kB at most. An answer costs one increment. */
export function createTraffic(): Traffic {
  const ring: Bucket[] = []
  let current: Bucket | undefined

  function begin(period: number): Bucket {
    const bucket = { period, errors: 0, bins: ring[period % BUCKETS]?.bins.fill(0) ?? new Uint32Array(BINS) }
    ring[period % BUCKETS] = bucket
    return bucket
  }

  return {
    add(status, durationMs, nowMs) {
      const period = Math.floor(nowMs / BUCKET_MS)
      if (current?.period !== period) current = begin(period)
      const bin = binOf(durationMs)
      current.bins[bin] = (current.bins[bin] ?? 0) + 1
      if (status >= 500) current.errors += 1
    },
    recent(nowMs) {
      const oldest = Math.floor(nowMs / BUCKET_MS) - BUCKETS + 1
      const buckets = Object.values(ring).filter(({ period }) => period >= oldest)
      const bins = Array.from({ length: BINS }, (_, bin) => sum(buckets.map((bucket) => bucket.bins[bin] ?? 0)))
      return {
        requests: sum(bins),
        errors: sum(buckets.map(({ errors }) => errors)),
        p50Ms: percentile(bins, 0.5),
        p99Ms: percentile(bins, 0.99),
      }
    },
  }
}

function binOf(durationMs: number): number {
  const bin = Math.floor(Math.log2(durationMs) * BINS_PER_DOUBLING) - FIRST_BIN
  return Math.min(Math.max(bin, 0), BINS - 1)
}

/** The middle of the bin that contains the value of this rank, in hundredths of a millisecond. */
function percentile(bins: readonly number[], share: number): number | null {
  const rank = Math.ceil(sum(bins) * share)
  if (rank === 0) return null
  let counted = 0
  const bin = bins.findIndex((count) => {
    counted += count
    return counted >= rank
  })
  return Math.round(2 ** ((bin + FIRST_BIN + 0.5) / BINS_PER_DOUBLING) * 100) / 100
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}
