import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { buildConnector, Client, Pool } from 'undici'
import { createShares, type Shares } from '#async'
import type { Connect } from '../proxy/head-first.ts'

/**
 * Sockets to one address. A function takes 512 requests at a time and answers most within milliseconds, so more sockets would only
 * move the queue from the router to the function; the pool queues what exceeds them.
 */
const CONNECTIONS_MAX = 128
/**
 * Further connections, for requests whose body still arrives. A slow client keeps one for as long as the function's limits allow, so
 * they are apart from the pool, and half as many.
 */
const STREAMS_MAX = 64
/** A local network connects in a millisecond or not at all; the kernel's own limit is two minutes. */
const CONNECT_MS_MAX = 2_000
/** One router can't keep more replicas of a function busy; further addresses are left out. */
const ADDRESSES_MAX = 64
/** How old an answer of the resolver may be while all its addresses are well: for that long a new replica goes unnoticed. */
const FRESH_MS = 1_000
/** The same while an address is skipped: not every refused request may cause a look-up. */
const DOUBTED_MS = 100
/** Past this an answer is not used until it is renewed: after a quiet hour another process may have the address. */
const STALE_MS = 10_000
/** How long a name may be unknown before its addresses are dropped: resolvers lose a name for a moment while its replicas change. */
const UNKNOWN_MS = 10_000

/** Gives the addresses of a name; rejects with the code `ENOTFOUND` if it has none. */
export type Resolve = (host: string) => Promise<readonly string[]>

/** One address of an origin, shared by every route that goes there. */
export interface Upstream {
  readonly address: string
  /** The URL with the address in place of the name. */
  readonly url: string
  readonly pool: Pool
  /** Makes a client with one connection of its own, since all of the pool's may be taken. The caller destroys it. */
  readonly connectAlone: () => Client
  /** The URL's host, for the `Host` header. */
  readonly host: string
  /** Opens a connection apart from the pool. `streams` bounds their number. */
  readonly connect: Connect
  readonly streams: Shares
  inFlight: number
  /** Answers of 5xx in a row. */
  failures: number
  /** By the clock of `performance.now()`; 0 while it is well. */
  skippedUntilMs: number
}

/** Resolves by /etc/hosts and DNS, in the system's order. */
export const resolveName: Resolve = async (host) => (await lookup(host, { all: true })).map(({ address }) => address)

/**
 * The addresses of an upstream URL's name. They are looked up on demand, so there is no timer to stop and no look-up without
 * traffic, and never twice at a time, since each look-up takes one of the process's four threads.
 */
export class Origin {
  /** Replaced by a new array at each change. */
  upstreams: readonly Upstream[] = []
  /** Whether requests have to wait for the look-up in flight, since the known addresses are too old. */
  isStale = false
  /** Why the last look-up failed. */
  failure: unknown
  /** Whether the URL has an IP address in place of a name, so that nothing is looked up. */
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

  /** Starts a look-up if the last one is too old, and gives the one in flight. It does not reject. */
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

  /** Cuts what is in flight. */
  async destroy(): Promise<void> {
    await Promise.all([...this.upstreams, ...this.#leaving].map(({ pool }) => pool.destroy()))
  }

  #isDoubted(): boolean {
    return this.upstreams.length === 0 || this.upstreams.some(({ skippedUntilMs }) => skippedUntilMs !== 0)
  }

  /**
   * While the resolver fails, the last addresses stay, since without them an outage of the resolver would be one of the service. Only
   * an unknown name counts, after a while, as an answer.
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
    // Sorted, since resolvers shuffle: past the bound the same addresses must remain each time.
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
      // It connects to this address, under the URL's name: in Host, and for certificates.
      connect: (options, callback) => connect({ ...options, hostname: address }, callback),
      // The proxy keeps the route's own limit, for which undici's timers, of half a second, are too coarse.
      headersTimeout: 0,
      bodyTimeout: 0,
    }
    // One request per socket at a time: a pipelined one would wait behind a slow answer although another socket is free.
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

  /** Takes it out of rotation; what is in flight finishes before the sockets close. */
  #retire(upstream: Upstream): void {
    this.#leaving.add(upstream)
    void upstream.pool.close().finally(() => this.#leaving.delete(upstream))
  }
}
