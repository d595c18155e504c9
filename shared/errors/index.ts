import { type ErrorCode, isRefusal, statusOf } from './codes.ts'
import type { ExtraOf, Issue, MemberCode } from './members.ts'

export { type ErrorCode, isRefusal, statusOf } from './codes.ts'
export type { Issue } from './members.ts'

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
    if (statusOf[code] < 500 || isRefusal(code)) Error.stackTraceLimit = 0
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
