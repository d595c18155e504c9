import { randomFillSync } from 'node:crypto'

/** The W3C Trace Context of the current work, and the baggage that is passed on with it, as headers carry them and the outbox stores them. */
export interface TraceContext {
  traceparent: string
  tracestate: string | undefined
  baggage: string | undefined
}

/** A trace context as columns of a row: null for what is absent. */
export interface StoredTrace {
  traceparent: string
  tracestate: string | null
  baggage: string | null
}

/** A trace context from headers, an event or a row: what is absent may be null, undefined or left out. */
export interface CarriedTrace {
  traceparent: string
  tracestate?: string | null | undefined
  baggage?: string | null | undefined
}

/** Only version 00, and neither id may be all zero: https://www.w3.org/TR/trace-context/#traceparent-header */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** The length that must be passed on. A longer trace state is dropped: https://www.w3.org/TR/trace-context/#tracestate-limits */
const TRACESTATE_LENGTH_MAX = 512

/** The client's trace with a new span id of this service; a new, unsampled trace if the client sent none or a broken one. */
export function childTrace(
  traceparent: string | null | undefined,
  tracestate?: string | null,
  baggage?: string,
): TraceContext {
  const parent = TRACEPARENT.exec(traceparent ?? '')
  const { traceId, spanId } = newIds()
  if (!parent) return { traceparent: `00-${traceId}-${spanId}-00`, tracestate: undefined, baggage }
  const isFit = tracestate && tracestate.length <= TRACESTATE_LENGTH_MAX
  return { traceparent: `00-${parent[1]}-${spanId}-${parent[3]}`, tracestate: isFit ? tracestate : undefined, baggage }
}

/** The parts of a `traceparent`; undefined if it is not one of version 00. */
export function parseTraceparent(traceparent: string | null | undefined) {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent ?? '') ?? []
  return traceId && spanId && flags ? { traceId, spanId, flags } : undefined
}

/** A pool of random bytes for 512 traces, at a tenth of the cost of drawing them one by one. */
const pool = Buffer.alloc(24 * 512)
let used = pool.length

/** Random ids, as all ids of traces and spans are. */
export function newIds(): { traceId: string; spanId: string } {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += 24
  const random = pool.toString('hex', used - 24, used)
  return { traceId: random.slice(0, 32), spanId: random.slice(32) }
}

const SAMPLED = new Set(Array.from('13579bdf', (digit) => digit.charCodeAt(0)))

/** The trace id if the trace is recorded, by its flag; undefined if it is not recorded, or broken. */
export function sampledTraceId(traceparent: string | undefined): string | undefined {
  // Checks the last digit first, since nearly every request ends here.
  if (traceparent === undefined || !SAMPLED.has(traceparent.charCodeAt(traceparent.length - 1))) return undefined
  return TRACEPARENT.exec(traceparent)?.[1]
}

/** The trace id, for a log line. */
export function traceIdOf(trace: TraceContext): string {
  return trace.traceparent.slice(3, 35)
}
