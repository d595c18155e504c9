import postgres from 'postgres'
import { isRefusal, ServiceError } from '#errors'
import { isOutdated } from '../connections/driver/driver-mends.ts'

/** Why a transaction may be retried, by SQLSTATE: https://www.postgresql.org/docs/18/errcodes-appendix.html */
const RETRY_REASONS: Record<string, string> = {
  '40001': 'serialization_failure',
  '40P01': 'deadlock_detected',
  '55P03': 'lock_not_available',
}

/** The server answers but can't run the statement now: it is shutting down, starting up, a standby, or lacks the database. */
const UNAVAILABLE_STATES = new Set(['57P01', '57P02', '57P03', '25006', '25P03', '25P02', '55000', '3D000'])
/** Classes of codes that mean the same: connection, authorization, insufficient resources, system error. */
const UNAVAILABLE_CLASSES = new Set(['08', '28', '53', '58'])
/** Codes of the system, the driver and TLS: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const UNAVAILABLE_CODES =
  /^(CONNECT|ECONN|EPIPE|ENOTFOUND|ENOENT|EACCES|EAI_|ETIMEDOUT|EHOST|ENET|EADDRNOTAVAIL|EMFILE|ENFILE|SASL_|ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|HOSTNAME_)/

/** Thrown by a transaction that has read outdated rows, so that it is retried. */
export class StaleRead extends Error {
  override readonly name = 'StaleRead'
}

/** Why a retry of the transaction may succeed, as a metric label; undefined if it can't. */
export function retryReason(error: unknown): string | undefined {
  if (error instanceof StaleRead) return 'stale_read'
  if (isOutdated(error)) return 'schema_changed'
  return error instanceof postgres.PostgresError ? RETRY_REASONS[error.code] : undefined
}

/** Whether a statement did not get a lock: it has waited until `lock_timeout`, or in a deadlock. */
export function isLockedOut(error: unknown): boolean {
  return error instanceof postgres.PostgresError && ['55P03', '40P01'].includes(error.code)
}

/** Whether the server has ended a statement at `statement_timeout`. */
export function isCancelled(error: unknown): boolean {
  return error instanceof postgres.PostgresError && error.code === '57014'
}

/** Whether the connection failed rather than the statement. The outcome of a commit in flight is then unknown. */
export function isConnectionFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof postgres.PostgresError) {
    return UNAVAILABLE_STATES.has(error.code) || UNAVAILABLE_CLASSES.has(error.code.slice(0, 2))
  }
  return 'code' in error && typeof error.code === 'string' && UNAVAILABLE_CODES.test(error.code)
}

/** Whether the connection ended while it carried a statement. The server itself may still be there. */
export function isDropped(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && ['CONNECTION_CLOSED', 'ECONNRESET', 'EPIPE'].includes(`${error.code}`)
  )
}

/** The ServiceError for a database error that a client may see. Returns any other error unchanged. */
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

/** The level at which to log a failure that is retried: a database that is away or busy is not this service's fault. */
export function levelOf(error: unknown): 'warn' | 'error' {
  const shown = toPublicError(error)
  return shown instanceof ServiceError && isRefusal(shown.code) ? 'warn' : 'error'
}

/** Public messages for errors of class 22. The server's own messages name columns, functions and types. */
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
 * Why a server can't be used, for the public readiness check. It gives the code of the failure, with which an operator can find the rest, but no
 * role, database or address.
 */
export function failureReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'an unknown failure'
  return error instanceof postgres.PostgresError ? `refuses with SQLSTATE ${code}` : `does not answer: ${code}`
}

/**
 * The `validation_failed` for input that passed its schema and that the database refuses as data (class 22). Undefined for any other error.
 * Use it only for a client's input: for an event or a job the same error is a defect.
 */
export function refusedInput(error: unknown): ServiceError | undefined {
  if (!(error instanceof postgres.PostgresError) || !error.code.startsWith('22')) return undefined
  const message = `can't be stored: ${REFUSALS[error.code] ?? 'a value is unfit'}`
  return new ServiceError('validation_failed', `The input ${message}.`, {
    issues: [{ path: '', message }],
    cause: error,
  })
}

/** Whether the server can't store a value as it is (class 22), or because it is nested too deeply (class 54). */
export function isRefusedData(error: unknown): boolean {
  return error instanceof postgres.PostgresError && ['22', '54'].includes(error.code.slice(0, 2))
}

/** The name of the unique constraint that `error` violates; undefined for other errors. */
export function violatedConstraint(error: unknown): string | undefined {
  return error instanceof postgres.PostgresError && error.code === '23505' ? error.constraint_name : undefined
}
