import { ServiceError } from '#errors'

/** The error that Kafka is away, or refuses something, and why: this is not a fault of this service. `problem` says what Kafka does not do. */
export function unavailable(problem: string, error: unknown): ServiceError {
  if (error instanceof ServiceError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new ServiceError('unavailable', `Kafka ${problem}: ${reason}`, { cause: error })
}
