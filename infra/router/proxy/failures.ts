import { overloaded, ServiceError } from '#errors'
import { malformedRequest } from '../exchange.ts'
import type { RouteEntry } from '../route.ts'

/** The codes of undici's and Node's errors about a request that can't be written as HTTP. */
const INVALID = new Set([
  'UND_ERR_INVALID_ARG',
  'ERR_UNESCAPED_CHARACTERS',
  'ERR_INVALID_CHAR',
  'ERR_INVALID_HTTP_TOKEN',
])

/** Returns the error to answer with if the upstream is not the cause, so a second try would fail too. */
export function ownError(error: Error & { code?: unknown }): ServiceError | undefined {
  if (error instanceof ServiceError) return error
  if (INVALID.has(String(error.code))) return malformedRequest('The request can not be forwarded as it is.')
  return undefined
}

/** The error that ends a try at the wrong process. */
export function misdirected(): Error {
  return new Error('This address belongs to another function')
}

export function upstreamsFull(): ServiceError {
  return overloaded('Too many requests are waiting. Nothing was done.')
}

export function unreachable(cause: unknown): ServiceError {
  const detail = 'No instance of this function can be reached. Nothing was done.'
  return new ServiceError('unavailable', detail, { retryAfterSeconds: 1, cause })
}

export function brokenAnswer(cause: unknown): ServiceError {
  const detail = 'The function broke off its answer. If the request was a write, its outcome is not known.'
  return new ServiceError('bad_gateway', detail, { cause })
}

/** The function has not received the whole request, so it has done nothing. */
export function lateBody(): ServiceError {
  return new ServiceError('request_timeout', 'The body did not arrive in time. Nothing was done.')
}

export function lateAnswer({ name, timeoutMs }: RouteEntry): ServiceError {
  const detail = 'The function did not answer in time. If the request was a write, its outcome is not known.'
  return new ServiceError('gateway_timeout', detail, { cause: `${name}: nothing for ${timeoutMs} ms` })
}
