/** One contender's result in one round. */
export interface Measurement {
  perSecond: number
  /** Absent for pgbench, which measures in its own way. */
  p50Ms?: number
  p99Ms?: number
  maxMs?: number
  /** The arrivals a second of an open loop. */
  arrivalsPerSecond?: number
  answers: Record<string, number>
  /** Answers with a status other than expected. They do not count. */
  unexpected?: number
  clientMicroseconds?: number
  /** The CPU time of the service and of PostgreSQL for each operation, its write-ahead log, and commits. All are of the whole load. */
  serviceMicroseconds?: number
  databaseMicroseconds?: number
  walBytes?: number
  commitsPerSecond?: number
  /** The number of acknowledged reservations, including the warm-up, and of those that are not in the database. */
  acknowledged: number
  lost: number
  /** Transactions on the primary for each thousand reads. */
  primaryPerThousand?: number
  /** The age, at the end, of the oldest event that some consumer has not received. */
  behindSeconds?: number
  /** The same, each second of the load. */
  behindEachSecond?: number[]
  /** The share of a core that an idle process uses. */
  cpuPercent?: number
  /** Products whose balance is not the sum of the ledger and of the holds, after the run; undefined if there was no audit. */
  inconsistent?: number
}

/** A product with few pieces and many buyers at once. */
export interface SellOut {
  pieces: number
  /** The pieces in held reservations afterwards, according to the database. */
  sold: number
}

export interface Series {
  contender: string
  scenario: string
  measurements: Measurement[]
}
