import { type RequestContext, responseState } from '#database'
import { counter } from '#telemetry'
import { attempt } from './look-up.ts'
import type { CacheStore, Entry, EntryKey } from './stores/store.ts'
import { isPast, later, reaches } from './token-order.ts'

export interface CacheOptions extends EntryKey {
  /** The name of the cache in metrics, from a bounded set. */
  name: string
  /** How long a value is fresh, plus or minus a tenth, at random. */
  freshMs: number
  /** How long a value is served after that, while it is loaded again. */
  staleMs?: number
  /** The `freshMs` of null, which stands for a thing that does not exist. */
  missingMs?: number
}

/** The result of a load: a value that JSON can hold, or null for a thing that does not exist; and a token that the value covers. */
export interface Loaded<Value> {
  result: Value
  asOf: string
}

export type Load<Value> = (context: RequestContext) => Promise<Loaded<Value>>

/** The most loads that this process shares. Beyond that, each reader loads for itself. */
const LOADS_MAX = 10_000

const loads = counter('cache_loads_total', 'Values loaded because the cache had none that was new enough.', ['cache'])

interface SharedLoad {
  /** The load covers this token; undefined if it promises nothing. */
  atLeast: string | undefined
  promise: Promise<Loaded<unknown>>
}

const underWay = new Map<string, SharedLoad>()

export const isLoading = (key: string) => underWay.has(key)

export const isMissing = (value: unknown) => value === null

/** Joins a load under way that is new enough for `token` and the group's watermark, or begins a load. */
export function shareLoad<Value>(
  store: CacheStore,
  options: CacheOptions,
  context: RequestContext,
  { token, watermark }: { token?: string | undefined; watermark?: string | undefined },
  load: Load<Value>,
): Promise<Loaded<unknown>> {
  const { key } = options
  const shared = underWay.get(key)
  const isNewEnough =
    (watermark === undefined || reaches(shared?.atLeast, watermark)) &&
    // Two commits may have the same token, and a load may have begun between them.
    (token === undefined || isPast(shared?.atLeast, token))
  if (shared && isNewEnough) return shared.promise
  const atLeast = later(token, watermark)
  const promise = loadAndPut(store, options, { ...context, response: responseState(atLeast) }, load)
  if (underWay.size >= LOADS_MAX) return promise
  const begun: SharedLoad = { atLeast, promise }
  underWay.set(key, begun)
  const end = () => {
    if (underWay.get(key) === begun) underWay.delete(key)
  }
  promise.then(end, end)
  return promise
}

async function loadAndPut<Value>(
  store: CacheStore,
  options: CacheOptions,
  context: RequestContext,
  load: Load<Value>,
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
  // Plus or minus a tenth, so that values loaded together do not expire together.
  const lifeMs = (isThere ? freshMs : missingMs) * (0.9 + Math.random() * 0.2)
  const entry: Entry = { value: loaded.result, asOf: loaded.asOf, freshUntil: Date.now() + lifeMs }
  // Not awaited: readers that come meanwhile join the load, or begin another one.
  void attempt('put', () => store.put(options, entry, Math.ceil(lifeMs + (isThere ? staleMs : 0))))
  return loaded
}
