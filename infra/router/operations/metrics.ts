import { counter, gauge, tracedHistogram } from '#telemetry'
import type { Exchange } from '../exchange.ts'
import type { Origin } from '../upstreams/origin.ts'

/** The label of requests that do not go to a function: health, documents, and paths that do not exist. */
const NO_FUNCTION = 'none'
/** nginx's status for a client that disconnected before its answer was complete. */
const CLIENT_LEFT = 499

const duration = tracedHistogram(
  'router_duration_seconds',
  'Time until an answer was sent, by the function that it was for (`none`: no function). Status 499: the client left before.',
  ['function', 'status'],
)
const repeats = counter('router_repeats_total', 'Requests sent to a second address, since the first did not answer.', [
  'function',
])
let exchanges = 0
const inFlight = gauge('router_in_flight', 'Requests that the router has not answered yet.', [], () => {
  inFlight.set(exchanges)
})
const addresses = gauge(
  'router_upstream_addresses',
  'Addresses of an upstream: `well`, or `skipped` after a failure.',
  ['upstream', 'state'],
)
const upstreamInFlight = gauge(
  'router_upstream_in_flight',
  'Requests that are at an upstream, or wait for a connection to it.',
  ['upstream'],
  collectUpstreams,
)

const observers = new Map<string, ReturnType<typeof duration>>()

/** Measures an exchange, with or without a function, from now until its answer is sent or its connection is closed. */
export function measure(exchange: Exchange, name = NO_FUNCTION): void {
  const { req, res } = exchange
  const startedAt = performance.now()
  exchanges++
  res.once('close', () => {
    exchanges--
    const status = res.writableFinished ? res.statusCode : (exchange.cutBy ?? CLIENT_LEFT)
    const key = `${name} ${status}`
    const observe = observers.get(key) ?? duration({ function: name, status: String(status) })
    observers.set(key, observe)
    observe((performance.now() - startedAt) / 1000, req.headers.traceparent?.toString())
  })
}

export function countRepeat(name: string): void {
  repeats.inc({ function: name })
}

type Origins = ReadonlyMap<string, Origin>
const watched = new Set<Origins>()

/** Includes these origins, by their URL, in the metrics until `unwatchOrigins`. */
export function watchOrigins(origins: Origins): void {
  watched.add(origins)
}

export function unwatchOrigins(origins: Origins): void {
  watched.delete(origins)
}

function collectUpstreams(): void {
  addresses.reset()
  upstreamInFlight.reset()
  const now = performance.now()
  for (const [upstream, { upstreams }] of [...watched].flatMap((origins) => [...origins])) {
    const skipped = upstreams.filter(({ skippedUntilMs }) => skippedUntilMs > now).length
    addresses.set({ upstream, state: 'skipped' }, skipped)
    addresses.set({ upstream, state: 'well' }, upstreams.length - skipped)
    upstreamInFlight.set(
      { upstream },
      upstreams.reduce((sum, { inFlight }) => sum + inFlight, 0),
    )
  }
}
