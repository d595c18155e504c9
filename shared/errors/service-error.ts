import { type ErrorCode, isRefusal, statusOf } from './codes.ts'
import { cutText } from './cut-text.ts'
import type { ExtraOf, Issue, MemberCode } from './members.ts'

interface ErrorDetails {
  /** Seconds after which a retry makes sense; sent as `Retry-After`. */
  retryAfterSeconds?: number
  cause?: unknown
}

/** Everything that is wrong with the input: the member `errors` of the problem document. */
type Issues<Code> = Code extends 'validation_failed' | 'idempotency_key_reused'
  ? { issues: Issue[] }
  : { issues?: never }

/** Members added to the problem document, such as `shortages`. */
type Extra<Code extends MemberCode> = keyof ExtraOf<Code> extends never ? { extra?: never } : { extra: ExtraOf<Code> }

/** A code and its detail, with exactly the members that `members.ts` defines for the code's problem documents. */
export type ErrorArguments =
  | [code: Exclude<ErrorCode, MemberCode>, detail: string, details?: ErrorDetails & { extra?: never; issues?: never }]
  | {
      [Code in MemberCode]: [code: Code, detail: string, details: ErrorDetails & Extra<Code> & Issues<Code>]
    }[MemberCode]

/** An error that a client may see. `detail` is public, and says what to do if something can be done. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'
  readonly code: ErrorCode
  readonly detail: string
  readonly extra: Readonly<Record<string, unknown>>
  readonly issues: Issue[] | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(...[code, detail, details = {}]: ErrorArguments) {
    const { stackTraceLimit } = Error
    // An error in a client's request is not a defect. Its stack would not be used, and would make up a tenth of a refusal's cost.
    if (statusOf[code] < 500 || isRefusal(code)) Error.stackTraceLimit = 0
    super(`${code}: ${detail}`, details.cause === undefined ? undefined : { cause: details.cause })
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
    // The detail repeats names and values that a client has sent, and half a character would make the answer unreadable.
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

const notFoundCodes = {
  product: 'product_not_found',
  reservation: 'reservation_not_found',
  job: 'job_not_found',
  location: 'location_not_found',
  webhook: 'webhook_not_found',
  'API key': 'api_key_not_found',
} as const satisfies Record<string, ErrorCode>

/** The kinds of things that a client can name by an id, a sku or a code. */
export type Resource = keyof typeof notFoundCodes

/** A 404 for a resource that does not exist, or that this client may not see. */
export function notFound(resource: Resource, value: string, name: 'id' | 'sku' | 'code' = 'id'): ServiceError {
  const detail = `There is no ${resource} with the ${name} '${cutText(value, 64)}'.`
  return new ServiceError(notFoundCodes[resource], detail)
}

/** A 503 for a request beyond a bound. The client may retry after a second. */
export function overloaded(detail: string, cause?: unknown): ServiceError {
  return new ServiceError('overloaded', detail, { retryAfterSeconds: 1, cause })
}
