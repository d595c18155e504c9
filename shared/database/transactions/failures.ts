import postgres from 'postgres'
import { ServiceError } from '#errors'
import { isOutdated } from '../connections/driver.ts'

/** Why a transaction may be run again, by SQLSTATE: https://www.postgresql.org/docs/18/errcodes-appendix.html */
const RETRY_REASONS: Record<string, string> = {
  '40001': 'serialization_failure',
  '40P01': 'deadlock_detected',
  '55P03': 'lock_not_available',
}

/** The server is there but can't take the statement now: shutting down, starting up, out of connections, a standby, without the database. */
const UNAVAILABLE_STATES = new Set(['57P01', '57P02', '57P03', '25006', '25P03', '25P02', '55000', '3D000'])
/** Classes of states that say the same: connections, who may make them, resources that have run out, and what the system below the server does. */
const UNAVAILABLE_CLASSES = new Set(['08', '28', '53', '58'])
/** The system's, the driver's, and those of TLS: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const UNAVAILABLE_CODES =
  /^(CONNECT|ECONN|EPIPE|ENOTFOUND|ENOENT|EACCES|EAI_|ETIMEDOUT|EHOST|ENET|EADDRNOTAVAIL|EMFILE|ENFILE|SASL_|ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|HOSTNAME_)/

/** A transaction that found the world changed under it and wants to start over with a fresh look. */
export class StaleRead extends Error {
  override readonly name = 'StaleRead'
}

/** Why running the whole transaction again may succeed, as a metric label; undefined if it would not. */
export function retryReason(error: unknown): string | undefined {
  if (error instanceof StaleRead) return 'stale_read'
  if (isOutdated(error)) return 'schema_changed'
  return error instanceof postgres.PostgresError ? RETRY_REASONS[error.code] : undefined
}

/** Whether a statement has waited for a lock as long as `lock_timeout` lets it. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === '55P03'
}

/** Whether the server has ended a statement that took longer than it may. */
export function isCancelled(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === '57014'
}

/** True where the connection, not the statement, failed; whether a commit in flight took place is then unknown. */
export function isConnectionFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof postgres.PostgresError) {
    return UNAVAILABLE_STATES.has(error.code) || UNAVAILABLE_CLASSES.has(error.code.slice(0, 2))
  }
  return 'code' in error && typeof error.code === 'string' && UNAVAILABLE_CODES.test(error.code)
}

/** The public face of a database error; anything that is not one comes back as it went in. */
export function toPublicError(error: unknown): unknown {
  if (isConnectionFailure(error)) {
    return new ServiceError(
      'unavailable',
      'The database does not answer. Nothing is lost: repeat the request with its Idempotency-Key.',
      {
        retryAfterSeconds: 1,
        cause: error,
      },
    )
  }
  if (isOutdated(error)) {
    return new ServiceError('unavailable', 'The database is being changed at this moment. Try again shortly.', {
      retryAfterSeconds: 1,
      cause: error,
    })
  }
  if (retryReason(error) || (error instanceof postgres.PostgresError && error.code === '57014')) {
    return new ServiceError('busy', 'Too many requests want the same rows at this moment. Try again shortly.', {
      retryAfterSeconds: 1,
      cause: error,
    })
  }
  return error
}

/** What a refusal of class 22 says, in our words: the server's name columns, functions and types, which are nobody's business. */
const REFUSALS: Record<string, string> = {
  '22001': 'a text is too long',
  '22003': 'a number is too large',
  '22007': 'a time is unfit',
  '22008': 'a time is too early or too late',
  '22021': 'a text has a character that is not allowed',
  '22P02': 'a value has the wrong form',
  '22P05': 'a text has a character that is not allowed',
}

/**
 * Why a server can't be used, for whoever may ask whether the service is ready, which is everybody: the code of the failure, by which
 * an operator finds the rest, but no role, database or address.
 */
export function failureReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'an unknown failure'
  return error instanceof postgres.PostgresError ? `refuses with SQLSTATE ${code}` : `does not answer: ${code}`
}

/**
 * What a client is told whose input the database refuses as data (class 22), past all schemas: `validation_failed`. Undefined for any
 * other error. Only where a client's input is being answered: of an event, or a job, the same error is a defect of ours.
 */
export function refusedInput(error: unknown): ServiceError | undefined {
  if (!(error instanceof postgres.PostgresError) || !error.code.startsWith('22')) return undefined
  const message = `can't be stored: ${REFUSALS[error.code] ?? 'a value is unfit'}`
  return new ServiceError('validation_failed', `The input ${message}.`, {
    issues: [{ path: '', message }],
    cause: error,
  })
}

/** The name of the unique constraint that `error` violates, if it does. */
export function violatedConstraint(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError && error.code === '23505' ? error.constraint_name : undefined
}
