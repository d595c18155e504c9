import { overloaded, type ServiceError } from '#errors'
import { connect, type Sql } from './connect.ts'
import { parseServerUrl } from './server-url.ts'
import { openingOf } from './session.ts'

/** A connection held by one transaction and by nothing else. */
export interface Lease {
  sql: Sql
  /** What its transactions begin with. */
  opening: string
  /** True once the connection has dropped: what it had begun is gone, and its next statement would run outside of it. */
  isLost: () => boolean
  /** Cuts the connection: every statement in flight on it fails at once. */
  abandon: () => void
  release: () => void
}

interface WriterOptions {
  max: number
  synchronousCommit?: string | undefined
  isPrimary?: boolean
  onclose?: () => void
  /** Transactions that may wait for a connection; past it the answer is 503 at once rather than a time-out later. */
  waitersMax?: number
  waitMs?: number
}

/** Has another client as soon as its connection has dropped. */
interface Slot {
  sql: Sql
  /** When its statements were last planned anew, by `performance.now()`. */
  plannedAt: number
}

/**
 * A prepared statement keeps its plan, made when its tables were empty perhaps, until their statistics change: minutes in
 * which every reservation read a whole table that had grown since. Planning anew takes a millisecond or two.
 */
const PLANS_MAX_AGE_MS = 10_000

const WAITERS_MAX = 2_000
const LEASE_WAIT_MS = 5_000

/**
 * A server's connections for transactions: one single-connection client a slot, so that BEGIN and what follows share
 * a connection by construction, and a dropped connection is known before its next statement. postgres.js's own pool
 * promises neither: see docs/decisions/0002-leased-connections.md.
 */
export function createWriters(firstUrl: string, options: WriterOptions) {
  const { max, synchronousCommit, isPrimary = false, waitersMax = WAITERS_MAX, waitMs = LEASE_WAIT_MS } = options
  let url = firstUrl
  let server = parseServerUrl(url)
  const slots: Slot[] = []
  const idle: Slot[] = []
  const waiting: Array<(slot: Slot) => void> = []
  let isEnding = false

  /**
   * Gives the slot a client for one connection. The one before is ended, not just dropped: it would send the statements
   * that it still keeps back on its next connection, outside of their transaction.
   */
  function renew(slot: Partial<Slot>): Slot {
    void slot.sql?.end({ timeout: 0 })
    const onclose = () => {
      options.onclose?.()
      if (slot.sql === sql) renew(slot)
    }
    const sql = connect(url, { max: 1, onclose, holdsTransactions: true, isPrimary, synchronousCommit })
    return Object.assign(slot, { sql, plannedAt: performance.now() })
  }

  function toLease(slot: Slot): Lease {
    const { sql } = slot
    // Behind a pooler nothing is prepared.
    if (!server.isPooled && performance.now() - slot.plannedAt > PLANS_MAX_AGE_MS) {
      slot.plannedAt = performance.now()
      // Not awaited: it travels ahead of whatever comes next, which fails if it does.
      sql.unsafe('discard plans').catch(() => {})
    }
    const isLost = () => slot.sql !== sql
    return {
      sql,
      opening: openingOf(server, synchronousCommit),
      isLost,
      abandon: () => {
        if (!isLost()) renew(slot)
      },
      release: () => {
        const next = waiting.shift()
        if (next) next(slot)
        else if (isEnding) void slot.sql.end({ timeout: 5 })
        else idle.push(slot)
      },
    }
  }

  async function lease(): Promise<Lease> {
    const slot = idle.pop()
    if (slot) return toLease(slot)
    if (slots.length < max) {
      const opened = renew({})
      slots.push(opened)
      return toLease(opened)
    }
    if (waiting.length >= waitersMax) throw allBusy()
    return new Promise((resolve, reject) => {
      const take = (freed: Slot) => {
        clearTimeout(timer)
        resolve(toLease(freed))
      }
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(take), 1)
        reject(allBusy())
      }, waitMs)
      waiting.push(take)
    })
  }

  /** What is leased is ended once it is released, or at once where it has no `seconds` left. */
  function end(seconds = 5) {
    isEnding = true
    const ending = seconds === 0 ? slots : idle
    return Promise.all(ending.splice(0).map((slot) => slot.sql.end({ timeout: seconds })))
  }

  /** Cuts every connection, with what is in flight on it; the next ones go to another server. */
  function moveTo(otherUrl: string) {
    url = otherUrl
    server = parseServerUrl(url)
    for (const slot of slots) renew(slot)
  }

  return { lease, moveTo, end }
}

function allBusy(): ServiceError {
  return overloaded('Every database connection is busy. Try again shortly.')
}
