import { childTrace, type TraceContext } from '#telemetry'
import type { Scope } from './scopes.ts'
import type { IdempotencyKey } from './transactions/idempotency.ts'

/**
 * Who asks, on whose behalf and under which promises: one object a request, handed down to every domain call.
 * `consistency.token` is read before a read is routed and replaced after every commit, so that within one request,
 * and across requests that pass it on, a read sees the writes that came before it.
 */
export interface Caller {
  /** Who is written into the ledger: `api-key:<id>`, or `function:<name>` where no client stands behind the work. */
  actor: string
  /** What it may do: a route's own scope is not all that a request may ask for. */
  scopes: readonly Scope[]
  /** The reservations that it makes are its own, and an admin's: it can neither see nor change others'. */
  ownsReservations: boolean
  trace: TraceContext
  idempotency: IdempotencyKey | undefined
  consistency: { token: string | undefined }
  /** True once whoever asked has hung up, or was told that it took too long: what has not begun by then need not begin. */
  isGone: () => boolean
}

/** The caller of work that no client asked for: schedules, seeds, migrations. */
export function systemCaller(actor: string, trace: TraceContext = childTrace(undefined)): Caller {
  return {
    actor,
    scopes: ['admin'],
    ownsReservations: false,
    trace,
    idempotency: undefined,
    consistency: { token: undefined },
    isGone: () => false,
  }
}
