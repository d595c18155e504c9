import postgres from 'postgres'
import { type Attributes, tracing } from '#telemetry'
import { isOutdated, mend, type Query } from './driver-mends.ts'
import { traceStatement } from './statement-spans.ts'

/** A connection's tagged template. `bigint` columns arrive as numbers: all of this service's values stay below 2^53. */
export type Sql = postgres.Sql<{ bigint: number }>

type Options = postgres.Options<Record<string, postgres.PostgresType>>

export interface ClientOptions extends Omit<Options, 'host' | 'port' | 'max'> {
  /** Lists, which the driver takes as they are. In a single name, it would take a colon for the one before a port. */
  host: string[]
  port: number[]
  /** Each statement is a transaction of its own. If it is outdated, it has done nothing, and is run again. */
  ofSingles: boolean
}

/** The clients whose statements are each a transaction of their own. */
const ofSingles = new WeakSet<Query['handler']>()

/** The server of each client, as attributes for spans. */
const servers = new WeakMap<Query['handler'], Attributes>()

/** The function that is called with each query of a client right before it is sent. */
const beforeSending = new WeakMap<Query['handler'], (query: Query) => void>()

/**
 * A client of one connection, opened when it is first used; `createPool` gives more connections. Mends the defects that make postgres.js give one
 * query's answer to another: see docs/decisions/0016-whose-answer-it-is.md.
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
  mend(() => newQuery(sql), prepareToSend)
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

/** Calls `work` with each query of this client right before it is sent. */
export function onSending(sql: Sql, work: (query: Query) => void): void {
  beforeSending.set(newQuery(sql).handler, work)
}

/** The driver's own defaults, given explicitly: for a missing option it reads environment variables such as PGSSL and PGMAX. */
const defaults = {
  sslnegotiation: null,
  max_lifetime: 45 * 60,
  max_pipeline: 100,
  keep_alive: 60,
  prepare: true,
  debug: false,
  publications: 'alltables',
}

/** This variable is removed instead, because no value of its option means "none". */
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

/** The driver's types whose own `serialize` throws for a value that it can't write. */
const ownTypes: Record<string, postgres.PostgresType> = {
  time: {
    to: 1184,
    from: [1082, 1114, 1184],
    parse: (text: string) => new Date(text),
    serialize: (time: unknown) => (time instanceof Date ? time.toISOString() : String(time)),
  },
  json: { to: 114, from: [114, 3802], parse: JSON.parse, serialize: (value: unknown) => JSON.stringify(value) },
}

/** A value that can't be written is sent as a text that the server refuses, for the reason that `hasUndefined` tells. */
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
 * Whether the driver would fail at a parameter. It would then fail the queries that are on their way, and would leave this query in the line of
 * those that wait for an answer, though it has not been sent.
 */
function hasUndefined(args: readonly unknown[], prototype: Query): boolean {
  return args.some((arg) => {
    if (typeof arg !== 'object' || arg === null) return arg === undefined
    if (Array.isArray(arg)) return arg.includes(undefined)
    return Object.getPrototypeOf(arg) === prototype && hasUndefined((arg as Query).args, prototype)
  })
}

/** Once only, behind everything that is on its way. If the table keeps changing, the caller gets the error. */
function runAgainOnce(query: Query): void {
  const { reject } = query
  query.reject = (error) => {
    query.reject = reject
    if (!isOutdated(error) && !isOfEarlierSession(error, query)) return reject(error)
    query.active = false
    query.parameters = null
    // Not within the connection's turn, in which the connection still has to go on to its next query.
    queueMicrotask(() => query.handler(query))
  }
}

/** PostgreSQL's codes for the end of an open session: terminated, crashed, idle for too long. */
const SESSION_ENDED = new Set(['57P01', '57P02', '57P05', '25P03', '25P04'])

/** The driver keeps the error with which a server ended a session, and fails with it the unsent query that opens the next session. */
function isOfEarlierSession(error: unknown, { state }: Query): boolean {
  return state === null && error instanceof postgres.PostgresError && SESSION_ENDED.has(error.code)
}
