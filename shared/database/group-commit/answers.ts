import type { ServiceError } from '#errors'
import type { Sql } from '../connections/connect.ts'
import type { RequestContext } from '../request-context.ts'
import {
  claimKeys,
  type ResultOrFailure,
  storableFailure,
  storeAnswers,
  toFailure,
} from '../transactions/idempotency.ts'

export interface Member<Request> {
  request: Request
  context: RequestContext
}

export type Decision<Result> = { result: Result } | { error: ServiceError }

/** The members that are already decided: by the answer stored under their key, or because their key can't be used now. */
export async function claim<Request, Result>(tx: Sql, batch: ReadonlyArray<Member<Request>>) {
  const decided = new Map<Member<Request>, Decision<Result>>()
  const keyed = batch.flatMap((member) => {
    const { idempotency: key } = member.context
    return key ? [{ member, key }] : []
  })
  if (keyed.length === 0) return decided
  const claims = await claimKeys(
    tx,
    keyed.map(({ key }) => key),
  )
  keyed.forEach(({ member }, index) => {
    const made = claims[index]
    if (made?.kind === 'refused') decided.set(member, { error: made.error })
    if (made?.kind !== 'stored') return
    const { failure, result, requestId } = made.answer
    member.context.response.replayedFrom = requestId
    decided.set(member, failure ? { error: toFailure(failure) } : { result: result as Result })
  })
  return decided
}

/** Stores the answers of members with a key, except for refusals that an equal request may not get again. */
export function store<Request, Result>(sql: Sql, decisions: Map<Member<Request>, Decision<Result> | undefined>) {
  const entries = [...decisions].flatMap(([{ context }, decision]) => {
    const answer = decision && answerOf(decision)
    return context.idempotency && answer ? [{ key: context.idempotency, answer }] : []
  })
  return entries.length === 0 ? undefined : storeAnswers(sql, entries)
}

function answerOf<Result>(decision: Decision<Result>): ResultOrFailure | undefined {
  if ('result' in decision) return { result: decision.result }
  const failure = storableFailure(decision.error)
  return failure && { failure }
}
