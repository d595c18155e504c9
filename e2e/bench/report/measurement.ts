/** One contender's result of one alternation. */
export interface Measurement {
  perSecond: number
  /** Not known of pgbench, which measures its own way. */
  p50Ms?: number
  p99Ms?: number
  maxMs?: number
  /** Of the open-loop runs: the arrivals a second that were asked for. */
  arrivalsPerSecond?: number
  answers: Record<string, number>
  /** Answers of another status than the load asks for: they count for nothing. */
  unexpected?: number
  clientMicroseconds?: number
  /** Reservations that were said to be held, warming up included, and those of them that are not in the database. */
  acknowledged: number
  lost: number
  /** Transactions on the primary for each thousand reads. */
  primaryPerThousand?: number
  /** Of a core, by a process that has nothing to do. */
  cpuPercent?: number
  /** Products whose balance is not the sum of the ledger and of the holds, after the run; undefined where it was not asked. */
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
