import { unwatchOrigins, watchOrigins } from '../operations/metrics.ts'
import { Origin, type Resolve, resolveName, type Upstream } from './origin.ts'

/** The most requests in flight or queued for one address. One more would wait longer than its time-out, so it gets 503 at once. */
const IN_FLIGHT_MAX = 1_024
/** After this many 5xx answers in a row, a replica counts as failing. */
const FAILURES_MAX = 5
/** How long a failed upstream is skipped. The time is jittered, so that many routers don't return to it at once. */
const SKIP_MS_MIN = 250
const SKIP_MS_SPREAD = 500
/** How long the single trial request may take: longer than any function takes to answer. */
const TRIAL_MS_MAX = 10_000
/** How long a request without an address waits for a look-up: as long as it would wait for a connection. */
const LOOKUP_MS_MAX = 2_000

/** Chooses the upstreams of one route. */
export interface Rotation {
  /**
   * Starts the look-ups that are due. Call it before `next`. Returns a promise only if the request has to wait for them: no address is
   * known, all are out of date, or all are skipped except `refused`, which has just refused a connection.
   */
  prepare(refused?: Upstream): Promise<void> | undefined
  /** Returns the next upstream, not `except` if there is a choice. Returns undefined if all are full or no address is known. */
  next(except?: Upstream): Upstream | undefined
  /** Returns why the names have no address, or undefined if they have one. */
  missing(): unknown
  /** Calls `lookUp` for each name, then returns every address with its URL. A name without an address comes with its own URL. */
  addresses(lookUp: (origin: Origin) => Promise<unknown>): Promise<Array<{ url: string; upstream?: Upstream }>>
}

export interface Upstreams {
  rotation(urls: readonly URL[]): Rotation
  /** Cuts requests that are still in flight. By then, the server in front has drained or given up. */
  close(): Promise<void>
}

export function createUpstreams(resolve: Resolve = resolveName): Upstreams {
  const origins = new Map<string, Origin>()
  watchOrigins(origins)
  const originOf = (url: URL): Origin => {
    const origin = origins.get(url.origin) ?? new Origin(url, resolve)
    origins.set(url.origin, origin)
    return origin
  }
  return {
    rotation(urls) {
      for (const url of urls) assertOrigin(url)
      if (urls.length === 0) throw new Error('A proxied route needs at least one upstream')
      return rotationOf([...new Set(urls.map(originOf))])
    },
    async close() {
      unwatchOrigins(origins)
      await Promise.all([...origins.values()].map((origin) => origin.destroy()))
    },
  }
}

/** Call it for an upstream that refused a connection or is silent: requests go elsewhere for 250 to 750 ms. */
export function skipForAMoment(upstream: Upstream): void {
  upstream.skippedUntilMs = performance.now() + SKIP_MS_MIN + Math.random() * SKIP_MS_SPREAD
}

/**
 * An answer marks its upstream as well again, with two exceptions. An upstream that closes this connection is about to stop, and is skipped
 * before it refuses. An upstream that only fails does so quickly, and would otherwise have the fewest requests in flight of all.
 */
export function noteAnswer(upstream: Upstream, status: number, connection: unknown): void {
  upstream.failures = status >= 500 ? upstream.failures + 1 : 0
  if (connection === 'close' || upstream.failures >= FAILURES_MAX) skipForAMoment(upstream)
  else upstream.skippedUntilMs = 0
}

function rotationOf(origins: readonly Origin[]): Rotation {
  let turn = 0
  const [only] = origins
  const members = () =>
    only && origins.length === 1 ? only.upstreams : origins.flatMap(({ upstreams }) => [...upstreams])
  return {
    prepare(refused) {
      const lookups = origins.flatMap((origin) => origin.refresh() ?? [])
      if (lookups.length === 0) return undefined
      const now = performance.now()
      const canGoOn = refused
        ? members().some((upstream) => isWell(upstream, now, refused))
        : origins.some(({ isStale, upstreams }) => !isStale && upstreams.length > 0)
      return canGoOn ? undefined : allOrTimeout(lookups, LOOKUP_MS_MAX)
    },
    next(except) {
      turn += 1
      return choose(members(), turn, except)
    },
    missing: () => (members().length === 0 ? (origins[0]?.failure ?? 'no answer of the resolver yet') : undefined),
    async addresses(lookUp) {
      await Promise.all(origins.map((origin) => origin.isAddress || lookUp(origin)))
      return origins.flatMap(({ url, upstreams }) =>
        upstreams.length === 0 ? [{ url }] : upstreams.map((upstream) => ({ url: upstream.url, upstream })),
      )
    },
  }
}

/**
 * Chooses the upstream with the fewest requests in flight, and takes turns among equals. So a slow or paused upstream, whose kernel still
 * accepts connections, holds no more requests than the others do. With turns alone, it would collect requests up to its limit.
 */
function choose(upstreams: readonly Upstream[], turn: number, except: Upstream | undefined): Upstream | undefined {
  const now = performance.now()
  const well = leastBusy(upstreams, turn, (upstream) => isWell(upstream, now, except))
  // This request is a trial: no other request goes there before this one has its answer.
  if (well && well.skippedUntilMs !== 0) well.skippedUntilMs = now + TRIAL_MS_MAX
  // If no upstream is well, another try costs less than refusing by a state that may be out of date.
  return well ?? leastBusy(upstreams, turn, (upstream) => upstream !== except) ?? leastBusy(upstreams, turn, () => true)
}

function isWell(upstream: Upstream, now: number, except: Upstream | undefined): boolean {
  return upstream.skippedUntilMs <= now && upstream !== except
}

function leastBusy(
  upstreams: readonly Upstream[],
  turn: number,
  fits: (upstream: Upstream) => boolean,
): Upstream | undefined {
  let inFlight = IN_FLIGHT_MAX
  let chosen: Upstream | undefined
  for (let i = 0; i < upstreams.length; i += 1) {
    const upstream = upstreams[(turn + i) % upstreams.length]
    if (!upstream || upstream.inFlight >= inFlight || !fits(upstream)) continue
    inFlight = upstream.inFlight
    chosen = upstream
  }
  return chosen
}

/** Resolves once all look-ups are over, or after `ms`. */
function allOrTimeout(lookups: ReadonlyArray<Promise<void>>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    void Promise.all(lookups).then(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}

function assertOrigin(url: URL): void {
  const plain = url.pathname === '/' && url.search === '' && url.hash === '' && url.username === ''
  if (plain && (url.protocol === 'http:' || url.protocol === 'https:')) return
  throw new Error(`An upstream is an http(s) origin without a path: ${url.protocol}//${url.host}${url.pathname}`)
}
