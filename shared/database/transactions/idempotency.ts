import { type ErrorArguments, type ErrorCode, type Issue, ServiceError } from '#errors'
import type { Sql } from '../connections/connect.ts'
import { pipeline } from './pipeline.ts'

/** The `Idempotency-Key` of one request. */
export interface IdempotencyKey {
  apiKeyId: string
  key: string
  /** A digest of method, path and body. The same key with another digest is a client's mistake. */
  fingerprint: Buffer
  requestId: string
}

export interface StoredFailure {
  code: ErrorCode
  detail: string
  extra: Readonly<Record<string, unknown>>
  issues?: Issue[]
}

interface StoredRow {
  fingerprint: Buffer
  requestId: string
  result: unknown
  failure: StoredFailure | null
}

/** The result of claiming a key: taken for this transaction; its stored answer; or `request_in_progress` or `idempotency_key_reused`. */
export type Claim = { kind: 'taken' } | { kind: 'stored'; answer: StoredRow } | { kind: 'refused'; error: ServiceError }

/** Identifies an idempotency key: each API key has its own. */
export function nameOf({ apiKeyId, key }: IdempotencyKey): string {
  return `${apiKeyId} ${key}`
}

/**
 * Takes each key for this transaction, unless the key has an answer. A key is an advisory lock rather than a row, so that a second request learns
 * at once that the first still runs, instead of waiting for its row. Both statements are sent together. The second has its own snapshot, so it sees
 * what the last holder of the lock committed.
 */
export async function claimKeys(tx: Sql, keys: readonly IdempotencyKey[]): Promise<Claim[]> {
  const [locks, answers] = await pipeline([
    tx<Array<{ taken: boolean }>>`
      select ${takeKey(tx)} as taken from unnest(${keys.map(nameOf)}::text[]) with ordinality as key (name, line)
      order by line`,
    tx<Array<StoredRow & { line: number }>>`
      select asked.line, fingerprint, request_id as "requestId", result, failure
      from unnest(${keys.map(({ apiKeyId }) => apiKeyId)}::uuid[], ${keys.map(({ key }) => key)}::text[])
        with ordinality as asked (api_key_id, key, line)
      join idempotency_keys as stored using (api_key_id, key)
      where stored.created_at > now() - interval '24 hours'`,
  ])
  const answerAt = new Map(answers.map((answer) => [answer.line - 1, answer]))
  return keys.map((key, index) => {
    const answer = answerAt.get(index)
    // A stored answer is final, whoever holds the lock: the holder may be another replay.
    if (answer) return replay(answer, key)
    return locks[index]?.taken ? { kind: 'taken' } : { kind: 'refused', error: inProgress() }
  })
}

function takeKey(sql: Sql) {
  return sql`pg_try_advisory_xact_lock(hashtextextended(key.name, 0))`
}

function replay(answer: StoredRow, key: IdempotencyKey): Claim {
  if (!answer.fingerprint.equals(key.fingerprint)) {
    const detail = 'This Idempotency-Key was used for another request. Use a new key.'
    const issues = [{ path: 'Idempotency-Key', message: 'was used for another request' }]
    return { kind: 'refused', error: new ServiceError('idempotency_key_reused', detail, { issues }) }
  }
  return { kind: 'stored', answer }
}

function inProgress(): ServiceError {
  return new ServiceError('request_in_progress', 'A request with this Idempotency-Key is still running.', {
    retryAfterSeconds: 1,
  })
}

export type ResultOrFailure = { result: unknown } | { failure: StoredFailure }

/**
 * Stores answers, in the transactions of their effects. Returns no row for a key that already has an answer, or that a concurrent equal request has
 * taken since: a failure is stored after its transaction has ended, and without that transaction's lock.
 */
export function storeAnswers(sql: Sql, entries: ReadonlyArray<{ key: IdempotencyKey; answer: ResultOrFailure }>) {
  const results = entries.map(({ answer }) => ('result' in answer ? JSON.stringify(answer.result ?? null) : null))
  const failures = entries.map(({ answer }) => ('failure' in answer ? JSON.stringify(answer.failure) : null))
  return sql`
    insert into idempotency_keys (api_key_id, key, fingerprint, request_id, result, failure, created_at)
    select api_key_id, key.key, fingerprint, request_id, result::json, failure::json, now()
    from unnest(
      ${entries.map(({ key }) => nameOf(key))}::text[],
      ${entries.map(({ key }) => key.apiKeyId)}::uuid[],
      ${entries.map(({ key }) => key.key)}::text[],
      ${entries.map(({ key }) => `\\x${key.fingerprint.toString('hex')}`)}::text[]::bytea[],
      ${entries.map(({ key }) => key.requestId)}::text[],
      ${results}::text[],
      ${failures}::text[]
    ) as key (name, api_key_id, key, fingerprint, request_id, result, failure)
    where ${takeKey(sql)}
    on conflict (api_key_id, key) do update
      set fingerprint = excluded.fingerprint, request_id = excluded.request_id, result = excluded.result,
          failure = excluded.failure, created_at = excluded.created_at
      where idempotency_keys.created_at <= now() - interval '24 hours'
    returning key`
}

/** The stored form of a failure that an equal request would meet again: 404, 409 and 412, except `request_in_progress`. */
export function storableFailure(error: unknown): StoredFailure | undefined {
  if (!(error instanceof ServiceError) || error.code === 'request_in_progress') return undefined
  if (![404, 409, 412].includes(error.status)) return undefined
  return { code: error.code, detail: error.detail, extra: error.extra, ...(error.issues && { issues: error.issues }) }
}

export function toFailure({ code, detail, extra, issues }: StoredFailure): ServiceError {
  // Only arguments of a ServiceError are stored.
  return new ServiceError(...([code, detail, { extra, issues }] as ErrorArguments))
}
