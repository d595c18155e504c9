import { setTimeout as sleep } from 'node:timers/promises'
import { type RequestContext, read, readAsOf, responseState, type Sql } from '#database'
import { counter } from '#telemetry'
import { isOnLaterTimeline, isPast, later, reaches } from './floor.ts'
import { openStore } from './stores/open-store.ts'
import type { CacheStore, Entry, Found, Place } from './stores/store.ts'

export interface CacheOptions extends Place {
  /** Of what is cached, for the metrics: from a bounded set. */
  name: string
  /** How long a value is served as it is, give or take a tenth, at random. */
  freshMs: number
  /** How long it is served after that, while it is loaded anew. */
  staleMs?: number
  /** The same for "there is no such thing": a value of null. */
  missingMs?: number
}

/** What a load gives: a value that JSON can hold, null for a thing that is not there; and a token for what it covers. */
export interface Loaded<Value> {
  result: Value
  asOf: string
}

/** As long as a load in another process usually takes; after that, loading it here too is the smaller evil. */
const OTHERS_WAIT_MS = 100
const OTHERS_POLL_MS = 10
/** Loads that this process shares; past it, each reader loads for itself. */
const FLIGHTS_MAX = 10_000

const requests = counter('cache_requests_total', 'Reads through the cache, by what came of them.', ['cache', 'outcome'])
const loads = counter('cache_loads_total', 'Values loaded because the cache had none that would do.', ['cache'])
const failures = counter('cache_failures_total', 'Times that the cache did not answer, and was done without.', [
  'operation',
])

interface Flight {
  /** What its load covers at least; undefined if it promises nothing. */
  atLeast: string | undefined
  promise: Promise<Loaded<unknown>>
}

const flights = new Map<string, Flight>()

/**
 * What a query reads, as `read` would, through the cache: null for a thing that is not there, else a value that JSON can hold. A
 * request with a token is never given a value that may be older than it. Readers of one key share a query, within a process and,
 * as far as the cache answers, across processes. Throws what `read` throws, and nothing of its own.
 */
export function cached<Value>(
  options: CacheOptions,
  context: RequestContext,
  query: (sql: Sql) => Promise<Value>,
): Promise<Value> {
  const store = openStore()
  if (!store) return read(context, query, isMissing)
  return throughCache(store, options, context, (by) => readAsOf(by, query, isMissing))
}

const isMissing = (value: unknown) => value === null

/** The same with any load: it is called with a context whose token says how new the value has to be. */
export async function throughCache<Value>(
  store: CacheStore,
  options: CacheOptions,
  context: RequestContext,
  load: (context: RequestContext) => Promise<Loaded<Value>>,
): Promise<Value> {
  const { consistencyToken: token } = context.response
  const looked = look(store, options, token === undefined)
  // A cache in this process answers at once, and most reads end here.
  const found = looked instanceof Promise ? await looked : looked
  const { entry } = found
  if (entry && (token === undefined || reaches(entry.asOf, token))) {
    const isFresh = Date.now() < entry.freshUntil
    requests.inc({ cache: options.name, outcome: isFresh ? 'hit' : 'stale' })
    // Whoever gets the stale value does not wait for the new one, and does not fail with it.
    if (!isFresh) share(store, options, context, { floor: found.floor }, load).catch(() => {})
    return entry.value as Value
  }
  requests.inc({ cache: options.name, outcome: entry ? 'too_old' : 'miss' })
  if (token === undefined && !found.isLeased && !flights.has(options.key)) {
    const others = await waitForOthers(store, options)
    if (others) return others.value as Value
  }
  const { result, asOf } = await share(store, options, context, { token, floor: found.floor }, load)
  // A token from before a fail-over is of no use to a cache or a replica: the next read need not be for the primary again.
  if (token !== undefined && isOnLaterTimeline(asOf, token)) context.response.consistencyToken = asOf
  return result as Value
}

/** Joins a load under way that is new enough, or begins one. */
function share<Value>(
  store: CacheStore,
  options: CacheOptions,
  context: RequestContext,
  { token, floor }: { token?: string | undefined; floor?: string | undefined },
  load: (context: RequestContext) => Promise<Loaded<Value>>,
): Promise<Loaded<unknown>> {
  const { key } = options
  const underWay = flights.get(key)
  const isNewEnough =
    (floor === undefined || reaches(underWay?.atLeast, floor)) &&
    // Two commits may have one token, and a load may have begun between them.
    (token === undefined || isPast(underWay?.atLeast, token))
  if (underWay && isNewEnough) return underWay.promise
  const atLeast = later(token, floor)
  const promise = loadAndKeep(store, options, { ...context, response: responseState(atLeast) }, load)
  if (flights.size >= FLIGHTS_MAX) return promise
  const flight: Flight = { atLeast, promise }
  flights.set(key, flight)
  const land = () => {
    if (flights.get(key) === flight) flights.delete(key)
  }
  promise.then(land, land)
  return promise
}

async function loadAndKeep<Value>(
  store: CacheStore,
  options: CacheOptions,
  context: RequestContext,
  load: (context: RequestContext) => Promise<Loaded<Value>>,
): Promise<Loaded<Value>> {
  loads.inc({ cache: options.name })
  let loaded: Loaded<Value>
  try {
    loaded = await load(context)
  } catch (error) {
    void attempt('release', () => store.release(options))
    throw error
  }
  const { freshMs, staleMs = 0, missingMs = freshMs } = options
  const isThere = !isMissing(loaded.result)
  // A tenth more or less, so that what was loaded together does not all end together.
  const lifeMs = (isThere ? freshMs : missingMs) * (0.9 + Math.random() * 0.2)
  const entry: Entry = { value: loaded.result, asOf: loaded.asOf, freshUntil: Date.now() + lifeMs }
  // Nobody waits for it: who asks meanwhile joins or loads.
  void attempt('put', () => store.put(options, entry, Math.ceil(lifeMs + (isThere ? staleMs : 0))))
  return loaded
}

/** Looks under way in a cache that is not in this process: those who ask for the same meanwhile share one. */
const looks = new Map<string, Promise<Found>>()

function look(store: CacheStore, place: Place, lease: boolean): Promise<Found> | Found {
  const name = lease ? `lease ${place.key}` : place.key
  const underWay = looks.get(name)
  if (underWay) return underWay
  const found = store.get(place, lease)
  if (!(found instanceof Promise)) return found
  const looked = attempt('get', () => found).then((answer) => {
    looks.delete(name)
    // Without the cache, everybody loads.
    return answer ?? { isLeased: true }
  })
  looks.set(name, looked)
  return looked
}

/** What another process, which has the lease, puts there meanwhile. */
async function waitForOthers(store: CacheStore, place: Place): Promise<Entry | undefined> {
  for (let waitedMs = 0; waitedMs < OTHERS_WAIT_MS; waitedMs += OTHERS_POLL_MS) {
    await sleep(OTHERS_POLL_MS)
    const { entry, isLeased } = await look(store, place, true)
    if (entry || isLeased) return entry
  }
  return undefined
}

/** Undefined where the cache fails. */
async function attempt<Result>(operation: string, work: () => Promise<Result> | Result): Promise<Result | undefined> {
  try {
    return await work()
  } catch {
    failures.inc({ operation })
    return undefined
  }
}
