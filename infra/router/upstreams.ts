import { Pool } from 'undici'

/**
 * Sockets to one origin. A function takes 512 requests at a time and answers most within milliseconds, so more sockets would only
 * move the queue from here to there; the pool queues what exceeds them.
 */
const CONNECTIONS_MAX = 128
/** Requests in flight or queued for one origin: past it, waiting would outlast the time-out, so the answer is 503 at once. */
const IN_FLIGHT_MAX = 1_024
/** A local network connects in a millisecond or not at all; the kernel's own limit is two minutes. */
const CONNECT_MS_MAX = 2_000
/** How long an upstream that refused is passed over; jittered, so that many routers don't come back as one. */
const SKIP_MS_MIN = 250
const SKIP_MS_SPREAD = 500

/** One origin, shared by every route that goes there. */
export interface Upstream {
  readonly origin: string
  readonly pool: Pool
  inFlight: number
  /** In the clock of `performance.now()`. */
  skippedUntilMs: number
}

/** Gives the next upstream in turn, other than `except` where there is a choice; nothing if all are full. */
export type Rotation = (except?: Upstream) => Upstream | undefined

export interface Upstreams {
  rotation(urls: readonly URL[]): Rotation
  /** Cuts what is still in flight: the server in front has drained by then, or has given up on it. */
  close(): Promise<void>
}

export function createUpstreams(): Upstreams {
  const byOrigin = new Map<string, Upstream>()
  const upstreamAt = (url: URL): Upstream => {
    const known = byOrigin.get(url.origin)
    if (known) return known
    const upstream = { origin: url.origin, pool: createPool(url.origin), inFlight: 0, skippedUntilMs: 0 }
    byOrigin.set(url.origin, upstream)
    return upstream
  }
  return {
    rotation(urls) {
      for (const url of urls) assertOrigin(url)
      return roundRobin(urls.map(upstreamAt))
    },
    async close() {
      await Promise.all([...byOrigin.values()].map(({ pool }) => pool.destroy()))
    },
  }
}

/** Passes this upstream over for a moment: it refused a connection. */
export function skipForAMoment(upstream: Upstream): void {
  upstream.skippedUntilMs = performance.now() + SKIP_MS_MIN + Math.random() * SKIP_MS_SPREAD
}

function createPool(origin: string): Pool {
  return new Pool(origin, {
    connections: CONNECTIONS_MAX,
    // One request a socket at a time: behind a slow answer, a pipelined one would wait although another function is free.
    pipelining: 1,
    connect: { timeout: CONNECT_MS_MAX },
    // The route's own limit is kept by the proxy; undici's timers tick once in half a second, too coarse for it.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
}

function roundRobin(upstreams: readonly Upstream[]): Rotation {
  if (upstreams.length === 0) throw new Error('A proxied route needs at least one upstream')
  let turn = 0
  return (except) => {
    turn = (turn + 1) % upstreams.length
    const inTurn = [...upstreams.slice(turn), ...upstreams.slice(0, turn)]
    const free = inTurn.filter(({ inFlight }) => inFlight < IN_FLIGHT_MAX)
    const now = performance.now()
    const healthy = free.find((upstream) => upstream !== except && upstream.skippedUntilMs <= now)
    // With nothing healthy left, another try costs less than a refusal that may be out of date.
    return healthy ?? free.find((upstream) => upstream !== except) ?? free[0]
  }
}

function assertOrigin(url: URL): void {
  const plain = url.pathname === '/' && url.search === '' && url.hash === '' && url.username === ''
  if (plain && (url.protocol === 'http:' || url.protocol === 'https:')) return
  throw new Error(`An upstream is an http(s) origin without a path: ${url.protocol}//${url.host}${url.pathname}`)
}
