import type { ExtraOf, Issue, MemberCode } from './members.ts'

export type { Issue } from './members.ts'

/**
 * Every code a client can meet and the status it is answered with: the one place where the two are joined.
 * A code is part of the contract: renaming one breaks clients.
 */
export const statusOf = {
  malformed_json: 400,
  malformed_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  product_not_found: 404,
  reservation_not_found: 404,
  job_not_found: 404,
  location_not_found: 404,
  webhook_not_found: 404,
  api_key_not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  sku_taken: 409,
  location_code_taken: 409,
  has_held_reservations: 409,
  insufficient_stock: 409,
  product_archived: 409,
  limit_exceeded: 409,
  count_below_reserved: 409,
  not_held: 409,
  hold_limit_reached: 409,
  reservation_expired: 409,
  last_admin_key: 409,
  too_many_webhooks: 409,
  too_many_jobs: 409,
  request_in_progress: 409,
  // No client of the service gets it: the receiver of a webhook has answered so.
  webhook_gone: 410,
  version_mismatch: 412,
  too_large: 413,
  unsupported_media_type: 415,
  // No client of the service gets it: the router, which has asked the wrong process, asks another one.
  misdirected_request: 421,
  validation_failed: 422,
  idempotency_key_reused: 422,
  rate_limited: 429,
  headers_too_large: 431,
  // Nobody is there to read it: the status, nginx's for this, is for the metrics.
  client_closed_request: 499,
  internal: 500,
  bad_gateway: 502,
  overloaded: 503,
  busy: 503,
  unavailable: 503,
  not_ready: 503,
  gateway_timeout: 504,
} as const satisfies Record<string, number>

export type ErrorCode = keyof typeof statusOf

const refusals: ReadonlySet<string> = new Set<ErrorCode>(['overloaded', 'busy', 'unavailable'])

/** Whether a code says that a request was turned away for the moment, as it is meant to be where there is too much or something is away. */
export function isRefusal(code: string): boolean {
  return refusals.has(code)
}

export interface ErrorDetails {
  /** Seconds after which a retry makes sense; sent as `Retry-After`. */
  retryAfterSeconds?: number
  cause?: unknown
}

/** Every thing wrong with the input: the member `errors` of the problem document. */
type Issues<Code> = Code extends 'validation_failed' | 'idempotency_key_reused'
  ? { issues: Issue[] }
  : { issues?: never }

/** Members added to the problem document, such as `shortages`. */
type Extra<Code extends MemberCode> = keyof ExtraOf<Code> extends never ? { extra?: never } : { extra: ExtraOf<Code> }

/** A code with what is to be told with it: what its problem documents have besides the members of all (`members.ts`), no less and no more. */
export type ErrorArguments =
  | [code: Exclude<ErrorCode, MemberCode>, detail: string, details?: ErrorDetails & { extra?: never; issues?: never }]
  | {
      [Code in MemberCode]: [code: Code, detail: string, details: ErrorDetails & Extra<Code> & Issues<Code>]
    }[MemberCode]

/** An error a client is meant to see: `detail` is public, and says what to do where something can be done. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
  readonly code: ErrorCode
  readonly detail: string
  readonly extra: Readonly<Record<string, unknown>>
  readonly issues: Issue[] | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(...[code, detail, details = {}]: ErrorArguments) {
    const { stackTraceLimit } = Error
    // What a client is told about its own request is no defect: nobody looks for where it came from, and to find that out is a
    // tenth of all that a refusal costs.
    if (statusOf[code] < 500 || refusals.has(code)) Error.stackTraceLimit = 0
    super(`${code}: ${detail}`, details.cause === undefined ? undefined : { cause: details.cause })
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
    // Names and values that a client has sent come back in it: half a character would make the answer unreadable.
    this.detail = detail.toWellFormed()
    this.extra = details.extra ?? {}
    this.issues = details.issues?.map(({ path, message }) => ({
      path: path.toWellFormed(),
      message: message.toWellFormed(),
    }))
    this.retryAfterSeconds = details.retryAfterSeconds
  }

  get status(): number {
    return statusOf[this.code]
  }
}

/** A `validation_failed` about one member of the input. */
export function invalid(path: string, message: string): ServiceError {
  return new ServiceError('validation_failed', `${path}: ${message}`, { issues: [{ path, message }] })
}

/** The beginning of a text, `lengthMax` UTF-16 units at most, and no half of a character at its end. */
export function cutText(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text
  const isWithinCharacter = /^[\ud800-\udbff]$/.test(text.charAt(lengthMax - 1))
  return text.slice(0, isWithinCharacter ? lengthMax - 1 : lengthMax)
}

/**
 * What comes of an event or a job once it was tried: done with it, never again, or once more later; and why. `isOutage`: what it needs
 * is away or busy, which says nothing of the event itself.
 */
export type Outcome = { verdict: 'acknowledge' } | { verdict: 'reject' | 'retry'; error: string; isOutage?: boolean }
