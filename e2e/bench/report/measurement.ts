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
  /** Answers of another status than expected, which do not count. */
  unexpected?: number
  clientMicroseconds?: number
  /** CPU time for each operation, of the service and of PostgreSQL; its write-ahead log; and commits, of the whole load. */
  serviceMicroseconds?: number
  databaseMicroseconds?: number
  walBytes?: number
  commitsPerSecond?: number
  /** Reservations that were acknowledged, warming up included, and those of them that are not in the database. */
  acknowledged: number
  lost: number
  /** Transactions on the primary for each thousand reads. */
  primaryPerThousand?: number
  /** How old the oldest event is, at the end, that some follower has not had. */
  behindSeconds?: number
  /** The same, each second of the load. */
  behindEachSecond?: number[]
  /** Of a core, by a process that has nothing to do. */
  cpuPercent?: number
  /** Products whose balance is not the sum of the ledger and of the holds, after the run; undefined if there was no audit. */
  inconsistent?: number
}

/** A product with few pieces and many buyers at once. */
export interface SellOut {
  pieces: number
  /** Pieces in held reservations afterwards, as the database has them. */
  sold: number
}

export interface Series {
  contender: string
  scenario: string
  measurements: Measurement[]
}
