import { STATUS_CODES } from 'node:http'
import { isRefusal, ServiceError } from '#errors'
import { counter, logFault, logRefusal } from '#telemetry'

export interface ProblemContext {
  /** The requested path. */
  instance: string
  requestId: string
}

/** The problem document (RFC 9457) of an error. `type` is `about:blank`: clients switch on `code`. */
export function problemDocument(error: ServiceError, { instance, requestId }: ProblemContext): Record<string, unknown> {
  return {
    type: 'about:blank',
    title: STATUS_CODES[error.status] ?? 'Error',
    status: error.status,
    detail: error.detail,
    instance,
    code: error.code,
    requestId,
    ...(error.issues && { errors: error.issues }),
    ...error.extra,
  }
}

const problems = counter('function_problems_total', 'Requests and events that failed, by the code of the problem.', [
  'function',
  'code',
])

/** Counts an answer of `name` that is a problem. */
export function countProblem(name: string, { code }: ServiceError): void {
  problems.inc({ function: name, code })
}

/**
 * Counts and logs that an event, a run of a schedule or an attempt at a job failed: as a warning if something, such as a receiver of webhooks, is
 * away or busy, and otherwise as this service's fault.
 */
export function noteEventFailure(
  name: string,
  error: ServiceError,
  thrown: unknown,
  ids: Record<string, string>,
): void {
  const { code, detail, cause } = error
  countProblem(name, error)
  const about = { function: name, code }
  if (isRefusal(code) || code === 'bad_gateway')
    logRefusal(about, detail, cause === undefined ? undefined : String(cause))
  else logFault(about, detail, thrown, ids)
}

/** The headers of a problem document: its media type, and those that its status needs. */
export function problemHeaders(error: ServiceError): Record<string, string> {
  return {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
    // The rest of the request may still arrive, and must not be taken for the next request.
    ...(error.status === 408 && { connection: 'close' }),
    ...(error.status === 401 && { 'www-authenticate': 'Bearer' }),
    ...(error.retryAfterSeconds !== undefined && { 'retry-after': String(Math.ceil(error.retryAfterSeconds)) }),
  }
}

/** The error that a client may see: a ServiceError as it is, anything else as a bare 500. */
export function toServiceError(thrown: unknown): ServiceError {
  if (thrown instanceof ServiceError) return thrown
  return new ServiceError('internal', 'Something went wrong here. It has been logged under the request id.', {
    cause: thrown,
  })
}
