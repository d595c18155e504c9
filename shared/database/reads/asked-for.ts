import { ServiceError } from '#errors'
import { logger } from '#telemetry'

/**
 * The second wall behind the driver, which has been seen to give another's answer: nothing that tells who somebody is, or what is
 * whose, is taken from a row that is not the one asked for. Throws `unavailable`.
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
