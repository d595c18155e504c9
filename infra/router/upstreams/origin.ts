import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { buildConnector, Client, Pool } from 'undici'
import { createShares, type Shares } from '#async'
import type { Connect } from '../proxy/head-first.ts'

/**
 * The most sockets to one address. A function takes 512 requests at a time and answers most within milliseconds, so more sockets would only
 * move the queue from the router to the function. The pool queues the requests that exceed them.
 */
const CONNECTIONS_MAX = 128
/**
 * The most additional connections, for requests whose body is still arriving. A slow client keeps one for as long as the function's limits
 * allow, so these are separate from the pool, and half as many.
 */
const STREAMS_MAX = 64
/** A local network connects in a millisecond or not at all; the kernel's own limit is two minutes. */
const CONNECT_MS_MAX = 2_000
/** One router can't keep more replicas of a function busy. Further addresses are ignored. */
const ADDRESSES_MAX = 64
/** How old an answer of the resolver may be while all its addresses are well. A new replica goes unnoticed for that long. */
const FRESH_MS = 1_000
/** The same limit while an address is skipped, so that not every refused request causes a look-up. */
const DOUBTED_MS = 100
/** An older answer is not used until it is renewed: after a quiet hour, another process may have the address. */
const STALE_MS = 10_000
/** How long a name may be unknown before its addresses are dropped: resolvers lose a name for a moment while its replicas change. */
const UNKNOWN_MS = 10_000

/** Returns the addresses of a name. Rejects with the code `ENOTFOUND` if it has none. */
export type Resolve = (host: string) => Promise<readonly string[]>

/** One address of an origin, shared by every route that goes there. */
export interface Upstream {
  readonly address: string
  /** The URL with the address in place of the name. */
  readonly url: string
  readonly pool: Pool
  /** Makes a client with its own connection, since all those of the pool may be in use. The caller destroys it. */
  readonly connectAlone: () => Client
  /** The URL's host, for the `Host` header. */
  readonly host: string
  /** Opens a connection outside the pool. `streams` limits the number of these. */
  readonly connect: Connect
  readonly streams: Shares
  inFlight: number
  /** The number of 5xx answers in a row. */
  failures: number
  /** A time of `performance.now()`; 0 while the upstream is well. */
  skippedUntilMs: number
}

/** Resolves a name by /etc/hosts and DNS, in the system's order. */
export const resolveName: Resolve = async (host) => (await lookup(host, { all: true })).map(({ address }) => address)

/**
 * The addresses of an upstream URL's name. They are looked up on demand, so there is no timer to stop and no look-up without
 * traffic. There is never more than one look-up at a time, since each takes one of the process's four threads.
 */
export class Origin {
  /** Each change replaces the array by a new one. */
  upstreams: readonly Upstream[] = []
  /** Whether requests have to wait for the current look-up, since the known addresses are too old. */
  isStale = false
  /** Why the last look-up failed. */
  failure: unknown
  /** Whether the URL has an IP address instead of a name, so that there is nothing to look up. */
  readonly isAddress: boolean
  readonly #url: URL
  readonly #host: string
  readonly #resolve: Resolve
  readonly #leaving = new Set<Upstream>()
  #lookup: Promise<void> | undefined
  /** When the last look-up ended. */
  #lookedUpAtMs = Number.NEGATIVE_INFINITY
  /** When the name became unknown. */
  #unknownSinceMs: number | undefined

  constructor(url: URL, resolve: Resolve) {
    this.#url = url
    this.#host = url.hostname.replace(/^\[|\]$/g, '')
    this.isAddress = isIP(this.#host) !== 0
    this.#resolve = resolve
    if (this.isAddress) this.#adopt([this.#host])
  }

  get url(): string {
    return this.#url.origin
  }

  /** Starts a look-up if the last one is too old. Returns the look-up in flight, if any; its promise does not reject. */
  refresh(): Promise<void> | undefined {
    if (this.#lookup || this.isAddress) return this.#lookup
    const age = performance.now() - this.#lookedUpAtMs
    if (age < DOUBTED_MS || (age < FRESH_MS && !this.#isDoubted())) return undefined
    this.isStale = age > STALE_MS
    this.#lookup = this.#lookUp().finally(() => {
      this.#lookup = undefined
      this.#lookedUpAtMs = performance.now()
      this.isStale = false
    })
    return this.#lookup
  }

  /** Cuts requests in flight. */
  async destroy(): Promise<void> {
    await Promise.all([...this.upstreams, ...this.#leaving].map(({ pool }) => pool.destroy()))
  }

  #isDoubted(): boolean {
    return this.upstreams.length === 0 || this.upstreams.some(({ skippedUntilMs }) => skippedUntilMs !== 0)
  }

  /**
   * While the resolver fails, the last addresses stay. Otherwise an outage of the resolver would be an outage of the service. Only an
   * unknown name counts, after a while, as an answer.
   */
  async #lookUp(): Promise<void> {
    try {
      this.#adopt(await this.#resolve(this.#host))
      this.#unknownSinceMs = undefined
    } catch (error) {
      this.failure = error
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOTFOUND')) return
      this.#unknownSinceMs ??= performance.now()
      if (performance.now() - this.#unknownSinceMs > UNKNOWN_MS) this.#adopt([])
    }
  }

  #adopt(found: readonly string[]): void {
    // Sorted, since resolvers shuffle: with more addresses than the limit, the same ones must remain each time.
    const addresses = [...new Set(found)].sort().slice(0, ADDRESSES_MAX)
    const known = new Map(this.upstreams.map((upstream) => [upstream.address, upstream]))
    const gone = this.upstreams.filter(({ address }) => !addresses.includes(address))
    if (gone.length === 0 && addresses.length === known.size) return
    this.upstreams = addresses.map((address) => known.get(address) ?? this.#open(address))
    for (const upstream of gone) this.#retire(upstream)
  }

  #open(address: string): Upstream {
    const connect = buildConnector({ timeout: CONNECT_MS_MAX })
    const { origin, host, protocol, port } = this.#url
    const options: Client.Options = {
      // Connects to this address, but uses the URL's name in Host and for certificates.
      connect: (options, callback) => connect({ ...options, hostname: address }, callback),
      // The proxy enforces the route's own limit. undici's timers, with steps of half a second, are too coarse for it.
      headersTimeout: 0,
      bodyTimeout: 0,
    }
    // One request per socket at a time: a pipelined request would wait behind a slow answer although another socket is free.
    const pool = new Pool(origin, { ...options, connections: CONNECTIONS_MAX, pipelining: 1 })
    return {
      address,
      url: `${protocol}//${isIP(address) === 6 ? `[${address}]` : address}${port && `:${port}`}`,
      pool,
      connectAlone: () => new Client(origin, options),
      host,
      connect: (callback) => connect({ hostname: address, host, protocol, port }, callback as buildConnector.Callback),
      streams: createShares(STREAMS_MAX),
      inFlight: 0,
      failures: 0,
      skippedUntilMs: 0,
    }
  }

  /** Takes an upstream out of rotation. Requests in flight finish before the sockets close. */
  #retire(upstream: Upstream): void {
    this.#leaving.add(upstream)
    void upstream.pool.close().finally(() => this.#leaving.delete(upstream))
  }
}
