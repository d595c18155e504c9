import postgres from 'postgres'

/** What is used of a query of the driver's, of version 3.4.9. */
export interface Query {
  args: unknown[]
  /** Hands a query to its client's connections. */
  handler: (query: Query) => void
  /** Cancels a query of its client's. */
  canceller: unknown
  handle: () => unknown
  resolve: (result: unknown) => void
  reject: (error: unknown) => void
  cancel: () => unknown
  executed: boolean
  /** True while the next answer on its connection is for this one. */
  active: boolean
  /** The connection that it was written to. */
  state: object | null
  /** As they were written. */
  parameters: unknown[] | null
  [SIGNATURE]?: string | false
}

const SIGNATURE = Symbol('signature')

/** Where the server finds that a prepared statement can't be run any more, since its tables have changed, or that it has no such one. */
const OUTDATED = new Set(['FetchPreparedStatement', 'RevalidateCachedQuery', 'transformAssignedExpr'])

const outdated = new WeakSet<object>()

/** Grows with every statement that is found to be outdated: what was prepared before is used no more, on any connection. */
let generation = 0

let isMended = false

/**
 * Mends the driver, once for all of its clients: see docs/decisions/0016-whose-answer-it-is.md. From then on `prepareToSend` has each query
 * before it is sent. Throws where the driver is of another version than this one knows.
 */
export function mend(newQuery: () => Query, prepareToSend: (query: Query) => void): void {
  if (isMended) return
  const prototype: Query = Object.getPrototypeOf(newQuery())
  const { handle, cancel } = prototype
  Object.defineProperty(postgres.PostgresError.prototype, 'routine', routine)
  Object.defineProperty(prototype, 'signature', signature)
  Object.defineProperties(prototype, {
    forEachFn: { value: append, writable: true },
    handle: {
      value(this: Query) {
        if (!this.executed) prepareToSend(this)
        return handle.call(this)
      },
    },
    // Of a query that has others ahead of it on its connection, the driver would take the answer for that of the one behind.
    cancel: {
      value(this: Query) {
        return this.state === null || this.active ? cancel.call(this) : undefined
      },
    },
  })
  requireMended(newQuery())
  isMended = true
}

/**
 * The driver asks for the routine of the error of a prepared statement, and of no other, to learn whether to send it again: at once,
 * behind all that is on its way already, but taking the next answer for its own (https://github.com/porsager/postgres/issues/120).
 */
const routine: PropertyDescriptor & ThisType<{ serverRoutine?: string }> = {
  set(name: string) {
    this.serverRoutine = name
  },
  get() {
    if (OUTDATED.has(this.serverRoutine ?? '')) {
      outdated.add(this)
      generation++
    }
    return undefined
  },
}

/** What a connection knows a prepared statement by. */
const signature: PropertyDescriptor & ThisType<Query> = {
  set(text: string | false) {
    this[SIGNATURE] = text && generation > 0 ? `${generation} ${text}` : text
  },
  get() {
    return this[SIGNATURE]
  },
}

/** The driver counts the rows of an answer, and does not begin anew after one that an error has ended: the next would have holes. */
function append(row: unknown, rows: unknown[]): void {
  rows.push(row)
}

/** Whether a statement has failed, without effect, only because it was prepared before its tables changed: run again, it is prepared anew. */
export function isOutdated(error: unknown): boolean {
  return typeof error === 'object' && error !== null && outdated.has(error)
}

/** Throws where another version of the driver does not work as this module takes it to. */
function requireMended(query: Query): void {
  const error: { routine?: string } = Reflect.construct(postgres.PostgresError, [{ routine: 'a routine' }])
  const own: Array<keyof Query> = ['args', 'handler', 'canceller', 'resolve', 'reject', 'executed', 'active', 'state']
  const isKnown = own.every((name) => Object.hasOwn(query, name))
  if (isKnown && error.routine === undefined && !Object.hasOwn(query, 'signature')) return
  throw new Error(
    'this version of postgres.js is not the one that shared/database/connections/driver/driver-mends.ts mends',
  )
}
