import postgres from 'postgres'
import * as z from 'zod'
import { integerSetting, readConfig } from '#config'
import { ServiceError } from '#errors'
import { arrayTypes } from './array-types.ts'

/** A connection's tagged template. `bigint` columns arrive as numbers: every one of ours stays below 2^53. */
export type Sql = postgres.Sql<{ bigint: number }>

/** A connection held by one transaction and by nothing else. */
export interface Lease {
  sql: Sql
  /** True once the connection has dropped: what it had begun is gone, and its next statement would run outside of it. */
  isLost: () => boolean
  /** Cuts the connection: every statement in flight on it fails at once. */
  abandon: () => void
  release: () => void
}

const settingsSchema = z.object({
  DATABASE_URL: z.url({
    protocol: /^postgres(ql)?$/,
    error: 'must be a postgres:// URL, such as the databaseUrl in .local/stack.json',
  }),
  DATABASE_REPLICA_URL: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
  DATABASE_POOL_MAX: integerSetting({ min: 1, max: 100, default: 10 }),
})

let settings: z.infer<typeof settingsSchema> | undefined

/** The settings of this module, read once. Throws a ConfigError: call it at the start, to fail then rather than later. */
export function databaseSettings(): z.infer<typeof settingsSchema> {
  settings ??= readConfig(settingsSchema)
  return settings
}

function connect(url: string, max: number, writer?: { onclose: () => void }): Sql {
  return postgres(url, {
    max,
    connect_timeout: 5,
    idle_timeout: 60,
    // Seconds before another attempt to connect. The driver's own grow to 20: longer than a request waits for a server that is back.
    backoff: (failures: number) => Math.random() * Math.min(0.5, 0.01 * 2 ** failures),
    types: { bigint: { to: 20, from: [20], parse: Number, serialize: String }, ...arrayTypes },
    fetch_types: false,
    onnotice: () => {},
    // The driver would end a connection of a certain age between two statements, even of one transaction.
    ...(writer && { onclose: writer.onclose, max_lifetime: null }),
    connection: {
      application_name: 'stock-management',
      // Bounds for a stuck client or a stuck query; a request's own time-out (5 s by default) is the tighter one.
      statement_timeout: 10_000,
      lock_timeout: 3_000,
      idle_in_transaction_session_timeout: 10_000,
      // What is asked for often is in memory, where a page found by index costs no more than the next one.
      random_page_cost: 1.1,
      jit: 'off',
    },
  })
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

/** Callers that may wait for a connection; past it the answer is 503 at once rather than a time-out later. */
const WAITERS_MAX = 2_000
const LEASE_WAIT_MS = 5_000

/**
 * The primary's connections for transactions: one single-connection client a slot, so that BEGIN and what follows share
 * a connection by construction, and a dropped connection is known before its next statement. postgres.js's own pool
 * promises neither: see docs/decisions/0002-leased-connections.md.
 */
function createWriters(url: string, max: number) {
  const idle: Slot[] = []
  const waiting: Array<(slot: Slot) => void> = []
  let opened = 0
  let isEnding = false

  /**
   * Gives the slot a client for one connection. The one before is ended, not just dropped: it would send the statements
   * that it still keeps back on its next connection, outside of their transaction.
   */
  function renew(slot: Partial<Slot>): Slot {
    void slot.sql?.end({ timeout: 0 })
    const onclose = () => {
      if (slot.sql === sql) renew(slot)
    }
    const sql = connect(url, 1, { onclose })
    return Object.assign(slot, { sql, plannedAt: performance.now() })
  }

  function toLease(slot: Slot): Lease {
    const { sql } = slot
    if (performance.now() - slot.plannedAt > PLANS_MAX_AGE_MS) {
      slot.plannedAt = performance.now()
      // Not awaited: it travels ahead of whatever comes next, which fails if it does.
      sql.unsafe('discard plans').catch(() => {})
    }
    const isLost = () => slot.sql !== sql
    return {
      sql,
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
    if (opened < max) {
      opened++
      return toLease(renew({}))
    }
    if (waiting.length >= WAITERS_MAX) throw overloaded()
    return new Promise((resolve, reject) => {
      const take = (freed: Slot) => {
        clearTimeout(timer)
        resolve(toLease(freed))
      }
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(take), 1)
        reject(overloaded())
      }, LEASE_WAIT_MS)
      waiting.push(take)
    })
  }

  function end() {
    isEnding = true
    return Promise.all(idle.splice(0).map((slot) => slot.sql.end({ timeout: 5 })))
  }

  return { lease, end }
}

function overloaded(): ServiceError {
  return new ServiceError('overloaded', 'Every database connection is busy. Try again shortly.', {
    retryAfterSeconds: 1,
  })
}

let writers: ReturnType<typeof createWriters> | undefined
let primaryReader: Sql | undefined
let replicaReader: Sql | undefined

/** Waits, at most 5 s, for a connection to the primary that nothing else uses. Throws `overloaded`. */
export function leaseWriter(): Promise<Lease> {
  const { DATABASE_URL, DATABASE_POOL_MAX } = databaseSettings()
  writers ??= createWriters(DATABASE_URL, DATABASE_POOL_MAX)
  return writers.lease()
}

/** Connections to the primary for single statements that change nothing. */
export function primary(): Sql {
  const { DATABASE_URL, DATABASE_POOL_MAX } = databaseSettings()
  primaryReader ??= connect(DATABASE_URL, DATABASE_POOL_MAX)
  return primaryReader
}

/** Connections to the replica; undefined where none is configured. */
export function replica(): Sql | undefined {
  const { DATABASE_REPLICA_URL, DATABASE_POOL_MAX } = databaseSettings()
  if (DATABASE_REPLICA_URL) replicaReader ??= connect(DATABASE_REPLICA_URL, DATABASE_POOL_MAX)
  return replicaReader
}

/** Drops the replica's connections with whatever waits on them; the next use connects anew. */
export function resetReplica(): void {
  void replicaReader?.end({ timeout: 0 })
  replicaReader = undefined
}

/** Closes every connection; statements in flight get 5 s, and a transaction in flight is let finish. A later call opens new ones. */
export async function closeDatabase(): Promise<void> {
  const closing = [writers?.end(), primaryReader?.end({ timeout: 5 }), replicaReader?.end({ timeout: 5 })]
  writers = undefined
  primaryReader = undefined
  replicaReader = undefined
  settings = undefined
  await Promise.all(closing)
}
