import postgres from 'postgres'
import { type Attributes, tracing } from '#telemetry'
import { traceStatement } from './statement-spans.ts'

/** A connection's tagged template. `bigint` columns arrive as numbers: every one of ours stays below 2^53. */
export type Sql = postgres.Sql<{ bigint: number }>

type Options = postgres.Options<Record<string, postgres.PostgresType>>

export interface ClientOptions extends Omit<Options, 'host' | 'port' | 'max'> {
  /** Lists, which the driver takes as they are: a colon in a name would be taken for the one before a port. */
  host: string[]
  port: number[]
  /** Each statement is a transaction of its own: one that is outdated has done nothing, and is run again. */
  ofSingles: boolean
}

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

/** The clients whose every statement is a transaction of its own. */
const ofSingles = new WeakSet<Query['handler']>()

/** The server of each client, as spans have it. */
const servers = new WeakMap<Query['handler'], Attributes>()

/** What is called with each query of a client, right before it is sent. */
const beforeSending = new WeakMap<Query['handler'], (query: Query) => void>()

let isMended = false

/**
 * A client of one connection, opened when it is first used; `createPool` gives more. Mends what makes postgres.js give one query's
 * answer to another: see docs/decisions/0016-whose-answer-it-is.md.
 */
export function createClient({ ofSingles: isOfSingles, types, ...options }: ClientOptions): Sql {
  const written = Object.entries({ ...ownTypes, ...types }).map(([name, type]) => [name, neverThrowing(type)])
  const client: unknown = openWithoutVariables({
    ...defaults,
    ...options,
    max: 1,
    types: Object.fromEntries(written),
  })
  const sql = client as Sql
  if (!isMended) mend(() => newQuery(sql))
  const { handler } = newQuery(sql)
  if (isOfSingles) ofSingles.add(handler)
  servers.set(handler, {
    'db.system.name': 'postgresql',
    'db.namespace': String(options.database),
    'server.address': options.host[0] ?? '',
    'server.port': options.port[0] ?? 0,
  })
  return sql
}

/** A query that is never sent. */
export function newQuery(sql: Sql): Query {
  return sql`` as unknown as Query
}

/** Has `work` done with each query of this client, right before it is sent. */
export function onSending(sql: Sql, work: (query: Query) => void): void {
  beforeSending.set(newQuery(sql).handler, work)
}

/** The driver's own, said aloud: for what it is not given it looks for variables, PGSSL, PGMAX and the like. */
const defaults = {
  sslnegotiation: null,
  max_lifetime: 45 * 60,
  max_pipeline: 100,
  keep_alive: 60,
  prepare: true,
  debug: false,
  publications: 'alltables',
}

/** For this variable there is no value that says none. */
function openWithoutVariables(options: object): unknown {
  const { env } = process
  const { PGTARGETSESSIONATTRS: given } = env
  delete env.PGTARGETSESSIONATTRS
  try {
    return postgres(options as Options)
  } finally {
    if (given !== undefined) env.PGTARGETSESSIONATTRS = given
  }
}

/** Those of the driver's types whose own writing throws for what it can't write. */
const ownTypes: Record<string, postgres.PostgresType> = {
  time: {
    to: 1184,
    from: [1082, 1114, 1184],
    parse: (text: string) => new Date(text),
    serialize: (time: unknown) => (time instanceof Date ? time.toISOString() : String(time)),
  },
  json: { to: 114, from: [114, 3802], parse: JSON.parse, serialize: (value: unknown) => JSON.stringify(value) },
}

/** What can't be written is sent as what the server refuses, for the reason that `hasUndefined` tells. */
function neverThrowing(type: postgres.PostgresType): postgres.PostgresType {
  const serialize = (value: unknown): string => {
    try {
      return String(type.serialize(value))
    } catch (error) {
      return String(error)
    }
  }
  return { ...type, serialize }
}

/** Whether a statement has failed, without effect, only because it was prepared before its tables changed: run again, it is prepared anew. */
export function isOutdated(error: unknown): boolean {
  return typeof error === 'object' && error !== null && outdated.has(error)
}

function mend(newQuery: () => Query): void {
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

function prepareToSend(query: Query): void {
  if (hasUndefined(query.args, Object.getPrototypeOf(query))) {
    query.executed = true
    query.reject(new TypeError('a parameter of a statement is undefined'))
    return
  }
  beforeSending.get(query.handler)?.(query)
  const on = tracing()
  if (on) traceStatement(on, query, servers.get(query.handler) ?? {})
  if (ofSingles.has(query.handler)) runAgainOnce(query)
}

/**
 * Whether the driver would fail at a parameter. It fails then what is on its way, and leaves the query in the line of those that
 * wait for an answer, though it has not been sent.
 */
function hasUndefined(args: readonly unknown[], prototype: Query): boolean {
  return args.some((arg) => {
    if (typeof arg !== 'object' || arg === null) return arg === undefined
    if (Array.isArray(arg)) return arg.includes(undefined)
    return Object.getPrototypeOf(arg) === prototype && hasUndefined((arg as Query).args, prototype)
  })
}

/** Once, behind all that is on its way: the caller is told of a table that keeps changing. */
function runAgainOnce(query: Query): void {
  const { reject } = query
  query.reject = (error) => {
    query.reject = reject
    if (!isOutdated(error) && !isOfEarlierSession(error, query)) return reject(error)
    query.active = false
    query.parameters = null
    // Not within the connection's turn: it has still to go on to its next query.
    queueMicrotask(() => query.handler(query))
  }
}

/** PostgreSQL's codes for the end of a session that was open: terminated, crashed, idle for too long. */
const SESSION_ENDED = new Set(['57P01', '57P02', '57P05', '25P03', '25P04'])

/** The driver keeps what a server said as it ended a session, and fails the query with it that opens the next one, unsent. */
function isOfEarlierSession(error: unknown, { state }: Query): boolean {
  return state === null && error instanceof postgres.PostgresError && SESSION_ENDED.has(error.code)
}

/** Throws where another version of the driver does not work as this module takes it to. */
function requireMended(query: Query): void {
  const error: { routine?: string } = Reflect.construct(postgres.PostgresError, [{ routine: 'a routine' }])
  const own: Array<keyof Query> = ['args', 'handler', 'canceller', 'resolve', 'reject', 'executed', 'active', 'state']
  const isKnown = own.every((name) => Object.hasOwn(query, name))
  if (isKnown && error.routine === undefined && !Object.hasOwn(query, 'signature')) return
  throw new Error('this version of postgres.js is not the one that shared/database/connections/driver.ts mends')
}
