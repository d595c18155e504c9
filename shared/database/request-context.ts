import { childTrace, currentTrace, type TraceContext } from '#telemetry'
import type { Scope } from './scopes.ts'
import type { IdempotencyKey } from './transactions/idempotency.ts'

/** Who sent a request, what it may do, and which guarantees it has. There is one object per request, passed to every call of the domain. */
export interface RequestContext {
  /** The actor for the ledger: `api-key:<id>`, or `function:<name>` if no client sent the request. */
  readonly actor: string
  /** What the request may do: some operations need more than the scope of their route. */
  readonly scopes: readonly Scope[]
  /** True if a request sees and changes only the reservations of its own key, unless it has the scope `admin`. */
  readonly ownsReservations: boolean
  readonly trace: TraceContext
  readonly idempotency: IdempotencyKey | undefined
  /** The only part that calls change. */
  readonly response: ResponseState
  /** True once the client has disconnected or has been answered: work that has not begun by then need not begin. */
  readonly isGone: () => boolean
}

/** What the calls of a request set for its response. */
export interface ResponseState {
  /**
   * The log position that a read must have reached. At first it is the client's token. Each commit replaces it with its own position, so that the
   * request's next read sees the commit, and so does a later request that sends the token.
   */
  consistencyToken: string | undefined
  /** The id of the first request with this idempotency key, if the response repeats its stored answer. */
  replayedFrom: string | undefined
}

/** The context of work that no client asked for: schedules, seeds, migrations. */
export function systemContext(
  actor: string,
  trace: TraceContext = currentTrace() ?? childTrace(undefined),
): RequestContext {
  return {
    actor,
    scopes: ['admin'],
    ownsReservations: false,
    trace,
    idempotency: undefined,
    response: responseState(),
    isGone: () => false,
  }
}

/** The state that a response begins with. */
export function responseState(consistencyToken?: string): ResponseState {
  return { consistencyToken, replayedFrom: undefined }
}
