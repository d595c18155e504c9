import { type ErrorCode, type Issue, ServiceError } from '#errors'
import type { Sql } from './connections.ts'

/** One request under an `Idempotency-Key`. `replayed` is set when its answer came from the record of an earlier one. */
export interface IdempotencyKey {
  apiKeyId: string
  key: string
  /** A digest of method, path and body: the same key with another digest is a client's mistake. */
  fingerprint: Buffer
  requestId: string
  replayed: { requestId: string } | undefined
}

interface StoredFailure {
  code: ErrorCode
  detail: string
  extra: Record<string, unknown>
  issues?: Issue[]
}

interface StoredAnswer {
  fingerprint: Buffer
  requestId: string
  result: unknown
  failure: StoredFailure | null
}

/**
 * Takes the key for this transaction, and gives the answer stored under it, if there is one. The key is an advisory lock
 * rather than a row so that a second request learns at once that the first still runs, instead of waiting for its row.
 * Both statements are sent together; the second has its own snapshot, so it sees what the last holder committed.
 * Throws `request_in_progress` or `idempotency_key_reused`.
 */
export async function claimKey(tx: Sql, idempotency: IdempotencyKey): Promise<StoredAnswer | undefined> {
  const { apiKeyId, key } = idempotency
  const [[lock], [stored]] = await Promise.all([
    tx<[{ taken: boolean }]>`select ${takeKey(tx, idempotency)} as taken`,
    tx<StoredAnswer[]>`
      select fingerprint, request_id as "requestId", result, failure
      from idempotency_keys
      where api_key_id = ${apiKeyId} and key = ${key} and created_at > now() - interval '24 hours'`,
  ])
  // A stored answer is final, so it does not matter who holds the lock: another replay of it, for one.
  if (stored) return replay(stored, idempotency)
  if (!lock.taken) {
    throw new ServiceError('request_in_progress', 'A request with this Idempotency-Key is still running.', {
      retryAfterSeconds: 1,
    })
  }
  return undefined
}

function takeKey(sql: Sql, { apiKeyId, key }: IdempotencyKey) {
  return sql`pg_try_advisory_xact_lock(hashtextextended(${`${apiKeyId} ${key}`}, 0))`
}

function replay(stored: StoredAnswer, idempotency: IdempotencyKey): StoredAnswer {
  if (!stored.fingerprint.equals(idempotency.fingerprint)) {
    throw new ServiceError(
      'idempotency_key_reused',
      'This Idempotency-Key was used for another request. Use a new key.',
    )
  }
  idempotency.replayed = { requestId: stored.requestId }
  return stored
}

/**
 * Keeps the answer of this request with its effect: both are committed, or neither is. Gives no row where there is an
 * answer already, or where a twin has taken the key since: a failure is stored after its transaction, and its locks, are gone.
 */
export function storeAnswer(
  sql: Sql,
  idempotency: IdempotencyKey,
  answer: { result: unknown } | { failure: StoredFailure },
) {
  const { apiKeyId, key, fingerprint, requestId } = idempotency
  const result = 'result' in answer ? JSON.stringify(answer.result ?? null) : null
  const failure = 'failure' in answer ? JSON.stringify(answer.failure) : null
  return sql`
    insert into idempotency_keys (api_key_id, key, fingerprint, request_id, result, failure, created_at)
    select ${apiKeyId}, ${key}, ${fingerprint}, ${requestId}, ${result}::text::json, ${failure}::text::json, now()
    where ${takeKey(sql, idempotency)}
    on conflict (api_key_id, key) do update
      set fingerprint = excluded.fingerprint, request_id = excluded.request_id, result = excluded.result,
          failure = excluded.failure, created_at = excluded.created_at
      where idempotency_keys.created_at <= now() - interval '24 hours'
    returning key`
}

/** What is kept of a failure that an equal request would meet again: 404, 409 and 412, but for a race lost to a twin. */
export function storableFailure(error: unknown): StoredFailure | undefined {
  if (!(error instanceof ServiceError) || error.code === 'request_in_progress') return undefined
  if (![404, 409, 412].includes(error.status)) return undefined
  return { code: error.code, detail: error.detail, extra: error.extra, ...(error.issues && { issues: error.issues }) }
}

export function toFailure({ code, detail, extra, issues }: StoredFailure): ServiceError {
  return new ServiceError(code, detail, { extra, ...(issues && { issues }) })
}
