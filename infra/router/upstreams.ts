import { Origin, type Resolve, resolveName, type Upstream } from './origin.ts'

/** Requests in flight or queued for one address: past it, waiting would outlast the time-out, so the answer is 503 at once. */
const IN_FLIGHT_MAX = 1_024
/** Answers of 5xx in a row that tell a replica which only fails from one that has met a bad moment. */
const FAILURES_MAX = 5
/** How long an upstream that failed is passed over; jittered, so that many routers don't come back as one. */
const SKIP_MS_MIN = 250
const SKIP_MS_SPREAD = 500
/** How long the one request that tries it again may take to tell: longer than a function takes to answer, whatever it does. */
const TRIAL_MS_MAX = 10_000
/** How long a request waits for names to be looked up where it has nowhere to go: as long as it would for a connection. */
const LOOKUP_MS_MAX = 2_000

/** Where the requests of one route go. */
export interface Rotation {
  /**
   * To be called before `next`: has the names looked up where that is due. Gives a promise only where there is nothing to go on
   * with: no address is known, all are out of date, or none is well but `refused`, which has just refused a connection.
   */
  prepare(refused?: Upstream): Promise<void> | undefined
  /** The upstream to go to, other than `except` where there is a choice; nothing if all are full, or no address is known. */
  next(except?: Upstream): Upstream | undefined
  /** Why the names have no address, or nothing if they have some. */
  missing(): unknown
}

export interface Upstreams {
  rotation(urls: readonly URL[]): Rotation
  /** Cuts what is still in flight: the server in front has drained by then, or has given up on it. */
  close(): Promise<void>
}

export function createUpstreams(resolve: Resolve = resolveName): Upstreams {
  const origins = new Map<string, Origin>()
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
      await Promise.all([...origins.values()].map((origin) => origin.destroy()))
    },
  }
}

/** Passes this upstream over for a moment: it refused, or it is silent. */
export function skipForAMoment(upstream: Upstream): void {
  upstream.skippedUntilMs = performance.now() + SKIP_MS_MIN + Math.random() * SKIP_MS_SPREAD
}

/**
 * An answer ends what was held against its upstream, with two exceptions. One that will take no other request on this connection is
 * going: it is left alone before it refuses. One that only fails does so quickly, and would have the fewest in flight of all.
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
      return canGoOn ? undefined : within(LOOKUP_MS_MAX, lookups)
    },
    next(except) {
      turn += 1
      return choose(members(), turn, except)
    },
    missing: () => (members().length === 0 ? (origins[0]?.failure ?? 'no answer of the resolver yet') : undefined),
  }
}

/**
 * The one with the fewest in flight, in turn among equals. So one that is slow, or paused (the kernel still accepts connections for
 * it, and nobody answers), fills up to the level of the others and no further, where turns alone would fill it with everything.
 */
function choose(upstreams: readonly Upstream[], turn: number, except: Upstream | undefined): Upstream | undefined {
  const now = performance.now()
  const well = leastBusy(upstreams, turn, (upstream) => isWell(upstream, now, except))
  // Back on trial: one request goes there, and no other before that one has an answer.
  if (well && well.skippedUntilMs !== 0) well.skippedUntilMs = now + TRIAL_MS_MAX
  // With nothing well left, another try costs less than a refusal that may be out of date.
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

/** Resolves once all lookups are over, or after `ms`. */
function within(ms: number, lookups: ReadonlyArray<Promise<void>>): Promise<void> {
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
