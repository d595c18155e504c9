import { connect, type Sql } from '../connect.ts'
import { openingOf } from '../driver/session.ts'
import { parseServerUrl, type ServerUrl } from '../servers/server-url.ts'
import { watchPool } from './pool-metrics.ts'
import { createWaitQueue } from './wait-queue.ts'

/** A connection that only one transaction uses. */
export interface Lease {
  sql: Sql
  /** The statements that begin a transaction on it. */
  opening: string
  /** True once the connection has dropped: its transaction is gone, and the next statement would run outside of the transaction. */
  isLost: () => boolean
  /** Cuts the connection: every statement in flight on it fails at once. */
  abandon: () => void
  release: () => void
}

export interface LeasePool {
  /** Waits for a connection. Throws `overloaded` if too many transactions wait, or the wait is too long. */
  lease: () => Promise<Lease>
  /** Cuts every connection and the statements in flight on it. The next connections go to another server. */
  moveTo: (url: string) => void
  /** Ends idle connections at once, and leased ones on their release. With 0 `seconds` (default 5), ends all at once. */
  end: (seconds?: number) => Promise<unknown>
}

interface LeasePoolOptions {
  /** For the metrics. */
  name: string
  max: number
  synchronousCommit?: string | undefined
  isPrimary?: boolean
  onclose?: () => void
  /** Transactions that may wait for a connection. The next one gets 503 at once instead of a time-out later. */
  waitersMax?: number
  waitMs?: number
}

/** A client of one connection. It is replaced as soon as that connection has dropped. */
interface Slot {
  sql: Sql
  /** When the slot's statements were last planned anew, by `performance.now()`. */
  plannedAt: number
}

/** The server that slots connect to. */
interface Target {
  url: string
  server: ServerUrl
}

/**
 * A prepared statement keeps the plan of its first runs, perhaps made for empty tables, until the statistics change: for minutes, every reservation
 * read a whole table that had grown since. Planning anew takes a millisecond or two.
 */
const PLANS_MAX_AGE_MS = 10_000

const WAITERS_MAX = 2_000
const LEASE_WAIT_MS = 5_000

/**
 * A server's connections for transactions. Each slot is a client with a single connection, so that BEGIN and the statements after it are sure to
 * share a connection, and a dropped connection is known before its next statement. postgres.js's own pool promises neither: see
 * docs/decisions/0002-leased-connections.md.
 */
export function createLeasePool(url: string, options: LeasePoolOptions): LeasePool {
  const { max, synchronousCommit, waitersMax = WAITERS_MAX, waitMs = LEASE_WAIT_MS } = options
  const target = targetOf(url)
  const slots: Slot[] = []
  const idle: Slot[] = []
  const queue = createWaitQueue<Lease>(waitersMax, waitMs)
  let isEnding = false
  const usage = () => ({ limit: max, open: slots.length, idle: idle.length, waiting: queue.length() })
  const observeWait = watchPool(options.name, usage)

  function toLease(slot: Slot): Lease {
    const { sql } = slot
    discardOldPlans(slot, target)
    const isLost = () => slot.sql !== sql
    const abandon = () => {
      if (!isLost()) connectSlot(slot, target, options)
    }
    return { sql, opening: openingOf(target.server, synchronousCommit), isLost, abandon, release: () => release(slot) }
  }

  function release(slot: Slot): void {
    if (queue.length() > 0) queue.give(toLease(slot))
    else if (isEnding) void slot.sql.end({ timeout: 5 })
    else idle.push(slot)
  }

  function openSlot(): Slot | undefined {
    if (slots.length >= max) return undefined
    const slot = connectSlot({}, target, options)
    slots.push(slot)
    return slot
  }

  return {
    async lease() {
      const slot = idle.pop() ?? openSlot()
      const startedAt = performance.now()
      const lease = slot ? toLease(slot) : await queue.wait()
      observeWait(slot ? 0 : performance.now() - startedAt)
      return lease
    },
    moveTo(otherUrl) {
      Object.assign(target, targetOf(otherUrl))
      for (const slot of slots) connectSlot(slot, target, options)
    },
    end(seconds = 5) {
      isEnding = true
      const ending = seconds === 0 ? slots : idle
      return Promise.all(ending.splice(0).map((slot) => slot.sql.end({ timeout: seconds })))
    },
  }
}

const targetOf = (url: string): Target => ({ url, server: parseServerUrl(url) })

/**
 * Gives the slot a client for one connection, and ends the slot's previous client. Otherwise that client's queued statements would run on its next
 * connection, outside of their transaction.
 */
function connectSlot(slot: Partial<Slot>, target: Target, options: LeasePoolOptions): Slot {
  const { isPrimary = false, synchronousCommit } = options
  void slot.sql?.end({ timeout: 0 })
  const onclose = () => {
    options.onclose?.()
    if (slot.sql === sql) connectSlot(slot, target, options)
  }
  const sql = connect(target.url, { max: 1, onclose, holdsTransactions: true, isPrimary, synchronousCommit })
  return Object.assign(slot, { sql, plannedAt: performance.now() })
}

/** Does nothing behind a pooler, where no statement is prepared. */
function discardOldPlans(slot: Slot, { server }: Target): void {
  if (server.isPooled || performance.now() - slot.plannedAt <= PLANS_MAX_AGE_MS) return
  slot.plannedAt = performance.now()
  // Not awaited: it is sent ahead of the next statement, which fails if this one does.
  slot.sql.unsafe('discard plans').catch(() => {})
}
