import { ServiceError } from '#errors'
import { logger } from '#telemetry'

/**
 * Throws `unavailable` for a row other than the requested one. The driver has been seen to give one query the answer of another. This is the second
 * defence, for rows that decide identity or ownership.
 */
export function requireAskedFor(isAskedFor: boolean, what: string): void {
  if (isAskedFor) return
  const error = new ServiceError(
    'unavailable',
    'The database gave another answer than was asked for. Try again shortly.',
    {
      retryAfterSeconds: 1,
    },
  )
  logger().error({ err: error }, `the database gave another ${what} than was asked for`)
  throw error
}
