import { randomUUID } from 'node:crypto'

/** W3C Trace Context of the work in hand, as it is carried in headers and stored in the outbox. */
export interface TraceContext {
  traceparent: string
  tracestate: string | undefined
}

/** Version 00 only, with neither id all zero: https://www.w3.org/TR/trace-context/#traceparent-header */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})$/

/** The caller's trace with a new span id of our own; a new, unsampled trace where the caller sent none or a broken one. */
export function childTrace(traceparent: string | null | undefined, tracestate?: string | null): TraceContext {
  const parent = TRACEPARENT.exec(traceparent ?? '')
  const spanId = randomHex().slice(16)
  if (!parent) return { traceparent: `00-${randomHex()}-${spanId}-00`, tracestate: undefined }
  return { traceparent: `00-${parent[1]}-${spanId}-${parent[2]}`, tracestate: tracestate || undefined }
}

/** 32 hexadecimal digits, nearly all random. Node keeps entropy for UUIDs in stock, so this costs a tenth of `randomBytes`. */
function randomHex(): string {
  return randomUUID().replaceAll('-', '')
}

/** The trace id, for a log line. */
export function traceIdOf(trace: TraceContext): string {
  return trace.traceparent.slice(3, 35)
}
