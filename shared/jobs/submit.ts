import type * as z from 'zod'
import { hasScope, type RequestContext, read, requireScope, type Sql, transaction } from '#database'
import { notFound, ServiceError } from '#errors'
import { newId } from '#ids'
import { andDispatch } from './dispatches.ts'
import { keepInput } from './input.ts'
import { findJob, type JobRow, jobColumns, toJob } from './job-rows.ts'
import { type Job, type JobType, jobTypes, OPEN_EXPORTS_MAX, type SubmitJobRequest, scopeOf } from './schema.ts'

interface NewJob {
  type: JobType
  payload: object
  /** The file that it is to work on. */
  input?: readonly Uint8Array[]
}

/** Queues a job that a client asks for. Throws `forbidden`, or `too_many_jobs` where the client has too many such jobs open. */
export function requestJob(request: z.infer<typeof SubmitJobRequest>, context: RequestContext): Promise<Job> {
  const scope = scopeOf(request.type)
  if (scope) requireScope(context, scope, `A job of the type ${request.type}`)
  return transaction(context, async (tx) => {
    if (request.type === 'export-stock') await requireFewExports(tx, context)
    return insertJob(tx, request, context)
  })
}

async function requireFewExports(tx: Sql, { actor }: RequestContext): Promise<void> {
  // Of two at once, each would count the others only.
  await tx`select pg_advisory_xact_lock(hashtextextended('exports of ' || ${actor}::text, 0))`
  const [{ open }] = await tx<[{ open: number }]>`
    select count(*) as open from jobs
    where actor = ${actor} and type = 'export-stock' and state in ('queued', 'running', 'retrying')`
  if (open < OPEN_EXPORTS_MAX) return
  const detail = `${open} exports of this API key are not over yet. Ask for another when one of them is.`
  throw new ServiceError('too_many_jobs', detail)
}

/** Queues a job: in the transaction of a change that asks for it, or else in its own, under the request's idempotency key. */
export function submitJob(request: NewJob, context: RequestContext, tx?: Sql): Promise<Job> {
  return tx ? insertJob(tx, request, context) : transaction(context, (own) => insertJob(own, request, context))
}

async function insertJob(tx: Sql, { type, payload, input }: NewJob, context: RequestContext): Promise<Job> {
  const { actor, trace } = context
  const { attemptsMax, payload: schema } = jobTypes[type]
  const [row] = await tx<[JobRow]>`
    with job as (
      insert into jobs (id, type, payload, attempts_max, actor, scopes, traceparent, tracestate)
      values (${newId()}, ${type}, ${JSON.stringify(schema.parse(payload))}::text::json, ${attemptsMax}, ${actor},
              ${context.scopes}, ${trace.traceparent}, ${trace.tracestate ?? null})
      returning *
    ) ${andDispatch(tx, tx`select id from job`)}
    select ${jobColumns(tx)} from job`
  if (input) await keepInput(tx, { id: row.id, actor }, input)
  return toJob(row)
}

/** A job, without its result for a request that may not read that. Throws `job_not_found`. */
export async function getJob(id: string, context: RequestContext): Promise<Job> {
  const job = await read(
    context,
    (sql) => findJob(sql, id),
    (found) => found === undefined,
  )
  if (!job) throw notFound('job', id)
  const scope = scopeOf(job.type)
  return scope === undefined || hasScope(context, scope) ? job : { ...job, result: null }
}
