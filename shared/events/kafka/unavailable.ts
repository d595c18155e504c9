import { ServiceError } from '#errors'

/** That Kafka is away, or refuses, and why: no fault of ours. `problem` says what it does not do. */
export function unavailable(problem: string, error: unknown): ServiceError {
  if (error instanceof ServiceError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new ServiceError('unavailable', `Kafka ${problem}: ${reason}`, { cause: error })
}
