import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { buildConnector, Pool } from 'undici'
import { createShares, type Shares } from '#async'
import type { Connect } from './head-first.ts'

/**
 * Sockets to one address. A function takes 512 requests at a time and answers most within milliseconds, so more sockets would only
 * move the queue from here to there; the pool queues what exceeds them.
 */
const CONNECTIONS_MAX = 128
/**
 * Connections besides, for requests of which a body is still to come. Who sends slowly has them for as long as it pleases, within a
 * function's limits: half as many, and none of those by which all others go.
 */
const STREAMS_MAX = 64
/** A local network connects in a millisecond or not at all; the kernel's own limit is two minutes. */
const CONNECT_MS_MAX = 2_000
/** More replicas of one function than one router can keep busy; further addresses are left out. */
const ADDRESSES_MAX = 64
/** How old an answer of the resolver may be that nobody has doubted: for so long a new replica is not noticed. */
const FRESH_MS = 1_000
/** And one that is in doubt, as something is held against an address: the resolver must not be asked once for each refused request. */
const DOUBTED_MS = 100
/** Past this it is not gone by before it is renewed: after a quiet hour somebody else may have the address. */
const STALE_MS = 10_000
/** How long a name may be unknown before its addresses are given up: resolvers lose a name for a moment while its replicas change. */
const UNKNOWN_MS = 10_000

/** Gives the addresses of a name; rejects with the code `ENOTFOUND` if it has none. */
export type Resolve = (host: string) => Promise<readonly string[]>

/** One address of an origin, shared by every route that goes there. */
export interface Upstream {
  readonly address: string
  readonly pool: Pool
  /** The URL's own, for `Host`. */
  readonly host: string
  /** Opens a connection besides those of the pool, of which there may be as many as `streams` gives. */
  readonly connect: Connect
  readonly streams: Shares
  inFlight: number
  /** Answers of 5xx since the last one that was none. */
  failures: number
  /** In the clock of `performance.now()`; 0 while nothing is held against it. */
  skippedUntilMs: number
}

/** By /etc/hosts and DNS, in the order that the system is set up for. */
export const resolveName: Resolve = async (host) => (await lookup(host, { all: true })).map(({ address }) => address)

/**
 * The addresses that an upstream URL's name stands for. They are looked up when they are asked for, so there is no timer to stop
 * and no look-up without traffic, and never twice at a time, since each holds one of the process's four threads.
 */
export class Origin {
  /** Another array after each change. */
  upstreams: readonly Upstream[] = []
  /** Whether to wait for the look-up that is under way rather than go by what is known. */
  isStale = false
  /** Why the last look-up failed. */
  failure: unknown
  readonly #url: URL
  readonly #host: string
  readonly #isAddress: boolean
  readonly #resolve: Resolve
  readonly #leaving = new Set<Upstream>()
  #lookup: Promise<void> | undefined
  /** When the last look-up ended, and when the name was first unknown since it was last known. */
  #lookedUpAtMs = Number.NEGATIVE_INFINITY
  #unknownSinceMs: number | undefined

  constructor(url: URL, resolve: Resolve) {
    this.#url = url
    this.#host = url.hostname.replace(/^\[|\]$/g, '')
    this.#isAddress = isIP(this.#host) !== 0
    this.#resolve = resolve
    if (this.#isAddress) this.#adopt([this.#host])
  }

  /** Starts a look-up where the last one is too old, and gives the one that is under way. It does not reject. */
  refresh(): Promise<void> | undefined {
    if (this.#lookup || this.#isAddress) return this.#lookup
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
   * While the resolver itself is out of order, the last addresses stay for as long as it takes: they can be tried, and without them
   * an outage of the resolver would be one of the service. Only that the name is unknown counts, after a while, as an answer.
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
    // Sorted, as resolvers shuffle: past the bound it must be the same ones each time.
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
    const pool = new Pool(origin, {
      connections: CONNECTIONS_MAX,
      // One request a socket at a time: behind a slow answer, a pipelined one would wait although another function is free.
      pipelining: 1,
      // To this address, and under the URL's name: in Host, and as what a certificate must be for.
      connect: (options, callback) => connect({ ...options, hostname: address }, callback),
      // The route's own limit is kept by the proxy; undici's timers tick once in half a second, too coarse for it.
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    return {
      address,
      pool,
      host,
      connect: (callback) => connect({ hostname: address, host, protocol, port }, callback as buildConnector.Callback),
      streams: createShares(STREAMS_MAX),
      inFlight: 0,
      failures: 0,
      skippedUntilMs: 0,
    }
  }

  /** Out of the rotation; what is in flight finishes before the sockets close. */
  #retire(upstream: Upstream): void {
    this.#leaving.add(upstream)
    void upstream.pool.close().finally(() => this.#leaving.delete(upstream))
  }
}
