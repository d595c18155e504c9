import { randomFillSync } from 'node:crypto'

/** W3C Trace Context of the work in hand, as it is carried in headers and stored in the outbox. */
export interface TraceContext {
  traceparent: string
  tracestate: string | undefined
}

/** Version 00 only, with neither id all zero: https://www.w3.org/TR/trace-context/#traceparent-header */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})$/

/** What must be passed on at least, and all that is: https://www.w3.org/TR/trace-context/#tracestate-limits */
const TRACESTATE_LENGTH_MAX = 512

/** The client's trace with a new span id of our own; a new, unsampled trace where the client sent none or a broken one. */
export function childTrace(traceparent: string | null | undefined, tracestate?: string | null): TraceContext {
  const parent = TRACEPARENT.exec(traceparent ?? '')
  const random = randomHex()
  const spanId = random.slice(32)
  if (!parent) return { traceparent: `00-${random.slice(0, 32)}-${spanId}-00`, tracestate: undefined }
  const isFit = tracestate && tracestate.length <= TRACESTATE_LENGTH_MAX
  return { traceparent: `00-${parent[1]}-${spanId}-${parent[2]}`, tracestate: isFit ? tracestate : undefined }
}

/** Random bytes come in stocks of 512 traces, at a tenth of the price of asking for each. */
const stock = Buffer.alloc(24 * 512)
let used = stock.length

/** 48 hexadecimal digits: a trace id and a span id. */
function randomHex(): string {
  if (used === stock.length) {
    randomFillSync(stock)
    used = 0
  }
  used += 24
  return stock.toString('hex', used - 24, used)
}

/** The trace id, for a log line. */
export function traceIdOf(trace: TraceContext): string {
  return trace.traceparent.slice(3, 35)
}
