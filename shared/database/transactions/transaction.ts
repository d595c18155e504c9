import type { ServiceError } from '#errors'
import { inSpan, tracing } from '#telemetry'
import type { Sql } from '../connections/connect.ts'
import type { Lease } from '../connections/pool/lease-pool.ts'
import type { RequestContext } from '../request-context.ts'
import { begin, commit, rollback, withRetries } from './attempt.ts'
import { StaleRead } from './failures.ts'
import { claimKeys, storableFailure, storeAnswers, toFailure } from './idempotency.ts'

type Outcome<Result> = { result: Result } | { failure: ServiceError }

/**
 * Runs `work` in one transaction on the primary, and returns after its commit, which the context's consistency token then covers. After a deadlock,
 * a serialisation failure or a lock time-out, it runs all of `work` again, up to six attempts in all. Under an idempotency key, the result (which must be
 * JSON) is stored in the same commit, and an equal request gets it without running `work`. `work`'s final failures are stored too. Throws
 * ServiceErrors only, except for defects.
 *
 * @example
 * const location = await transaction(context, (tx) => insertLocation(tx, 'north'))
 */
export async function transaction<Result>(
  context: RequestContext,
  work: (tx: Sql) => Promise<Result>,
): Promise<Result> {
  const run = () => withRetries((lease) => attempt(lease, context, work))
  const outcome = await (tracing() ? inSpan('transaction', {}, run) : run())
  if ('failure' in outcome) throw outcome.failure
  return outcome.result
}

async function attempt<Result>(
  lease: Lease,
  context: RequestContext,
  work: (tx: Sql) => Promise<Result>,
): Promise<Outcome<Result>> {
  const { idempotency: key } = context
  const { tx, close } = begin(lease)
  try {
    const [claim] = key ? await claimKeys(tx, [key]) : []
    if (claim?.kind === 'refused') throw claim.error
    if (claim?.kind === 'stored') context.response.replayedFrom = claim.answer.requestId
    if (claim?.kind === 'stored' && claim.answer.failure) {
      close()
      await rollback(lease)
      return { failure: toFailure(claim.answer.failure) }
    }
    const result = claim?.kind === 'stored' ? (claim.answer.result as Result) : await work(tx)
    close()
    const store = () => key && claim?.kind === 'taken' && storeAnswers(lease.sql, [{ key, answer: { result } }])
    context.response.consistencyToken = await commit(lease, tx, store)
    return { result }
  } catch (error) {
    close()
    await rollback(lease)
    const failure = key && storableFailure(error)
    // If a concurrent equal request has taken the key meanwhile, the retry finds its answer.
    if (failure && (await storeAnswers(lease.sql, [{ key, answer: { failure } }])).length === 0) {
      throw new StaleRead('an equal request took the key first')
    }
    throw error
  }
}
