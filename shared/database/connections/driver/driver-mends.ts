import postgres from 'postgres'

/** The parts of the driver's queries that are used here, as of version 3.4.9. */
export interface Query {
  args: unknown[]
  /** Passes a query to its client's connections. */
  handler: (query: Query) => void
  /** Cancels a query of its client. */
  canceller: unknown
  handle: () => unknown
  resolve: (result: unknown) => void
  reject: (error: unknown) => void
  cancel: () => unknown
  executed: boolean
  /** True while the next answer on its connection belongs to this query. */
  active: boolean
  /** The connection that the query was written to. */
  state: object | null
  /** The parameters as they were written. */
  parameters: unknown[] | null
  [SIGNATURE]?: string | false
}

const SIGNATURE = Symbol('signature')

/** Routines in which the server finds that a prepared statement can't run any more because its tables have changed, or that it does not exist. */
const OUTDATED = new Set(['FetchPreparedStatement', 'RevalidateCachedQuery', 'transformAssignedExpr'])

const outdated = new WeakSet<object>()

/** Grows with every statement that is found to be outdated. Statements that were prepared before are not used any more, on any connection. */
let generation = 0

let isMended = false

/**
 * Mends the driver, once for all of its clients: see docs/decisions/0016-whose-answer-it-is.md. From then on, `prepareToSend` gets each query
 * before it is sent. Throws if the driver is of another version than this module knows.
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
    // If other queries are ahead of a cancelled query on its connection, the driver would take its answer for that of the next query.
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
 * The driver reads the routine only of an error of a prepared statement, to learn whether to send the statement again. It sends it at once, behind
 * everything that is already on its way, but takes the next answer for its own (https://github.com/porsager/postgres/issues/120).
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

/** The name by which a connection knows a prepared statement. */
const signature: PropertyDescriptor & ThisType<Query> = {
  set(text: string | false) {
    this[SIGNATURE] = text && generation > 0 ? `${generation} ${text}` : text
  },
  get() {
    return this[SIGNATURE]
  },
}

/**
 * The driver counts the rows of an answer, and does not reset the count after an answer that an error has ended: the next answer would have holes.
 */
function append(row: unknown, rows: unknown[]): void {
  rows.push(row)
}

/** Whether a statement has failed, without effect, only because it was prepared before its tables changed. If run again, it is prepared anew. */
export function isOutdated(error: unknown): boolean {
  return typeof error === 'object' && error !== null && outdated.has(error)
}

/** Throws if this version of the driver does not work as this module expects. */
function requireMended(query: Query): void {
  const error: { routine?: string } = Reflect.construct(postgres.PostgresError, [{ routine: 'a routine' }])
  const own: Array<keyof Query> = ['args', 'handler', 'canceller', 'resolve', 'reject', 'executed', 'active', 'state']
  const isKnown = own.every((name) => Object.hasOwn(query, name))
  if (isKnown && error.routine === undefined && !Object.hasOwn(query, 'signature')) return
  throw new Error(
    'this version of postgres.js is not the one that shared/database/connections/driver/driver-mends.ts mends',
  )
}
