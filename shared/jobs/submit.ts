import { hasScope, type RequestContext, read, requireScope, type Sql, transaction } from '#database'
import { notFound, ServiceError } from '#errors'
import { newId } from '#ids'
import { type TraceContext, traceOfMessage } from '#telemetry'
import { andDispatch } from './dispatches.ts'
import { storeInput } from './input.ts'
import { findJob, type JobRow, jobColumns, toJob } from './job-rows.ts'
import { type JobRules, type JobType, jobTypes, scopeOf } from './job-types.ts'
import type { Job } from './schema.ts'

interface NewJob {
  type: JobType
  /** As the runner's schema returns it. */
  payload: object
  /** The file that the job works on. */
  input?: readonly Uint8Array[]
}

/** Queues a job that a client requests. Throws `forbidden`, or `too_many_jobs` if the API key has too many such jobs open. */
export function requestJob(request: NewJob, context: RequestContext): Promise<Job> {
  const scope = scopeOf(request.type)
  if (scope) requireScope(context, scope, `A job of the type ${request.type}`)
  return transaction(context, async (tx) => {
    await requireFewOpen(tx, request.type, context)
    return insertJob(tx, request, context)
  })
}

async function requireFewOpen(tx: Sql, type: JobType, { actor }: RequestContext): Promise<void> {
  const { open }: JobRules = jobTypes[type]
  if (!open) return
  // Without this lock, two concurrent requests would not count each other.
  await tx`select pg_advisory_xact_lock(hashtextextended(${`${open.plural} of ${actor}`}::text, 0))`
  const [{ count }] = await tx<[{ count: number }]>`
    select count(*) as count from jobs
    where actor = ${actor} and type = ${type} and state in ('queued', 'running', 'retrying')`
  if (count < open.max) return
  const detail = `${count} ${open.plural} of this API key are not over yet. Ask for another when one of them is.`
  throw new ServiceError('too_many_jobs', detail)
}

/**
 * Queues a job: as part of `tx`, or else in a transaction of its own, under the request's idempotency key.
 *
 * @example
 * await submitJob({ type: 'deliver-webhook', payload: { webhookId, event } }, context, tx)
 */
export function submitJob(request: NewJob, context: RequestContext, tx?: Sql): Promise<Job> {
  return tx ? insertJob(tx, request, context) : transaction(context, (own) => insertJob(own, request, context))
}

async function insertJob(tx: Sql, { type, payload, input }: NewJob, context: RequestContext): Promise<Job> {
  const { actor } = context
  const id = newId()
  const trace = traceOfJob(id, context.trace)
  const { attemptsMax } = jobTypes[type]
  const [row] = await tx<[JobRow]>`
    with job as (
      insert into jobs (id, type, payload, attempts_max, actor, scopes, traceparent, tracestate, baggage)
      values (${id}, ${type}, ${JSON.stringify(payload)}::text::json, ${attemptsMax}, ${actor},
              ${context.scopes}, ${trace.traceparent}, ${trace.tracestate ?? null}, ${trace.baggage ?? null})
      returning *
    ) ${andDispatch(tx, tx`select id from job`)}
    select ${jobColumns(tx)} from job`
  if (input) await storeInput(tx, { id: row.id, actor }, input)
  return toJob(row)
}

/**
 * Queues jobs of one type without files, in one statement as part of `tx`, on behalf of one actor. Each has its own trace.
 *
 * @example
 * await submitJobs('deliver-webhook', [{ payload: { webhookId, event }, trace }], context, tx)
 */
export async function submitJobs(
  type: JobType,
  jobs: ReadonlyArray<{ payload: object; trace: TraceContext }>,
  { actor, scopes }: RequestContext,
  tx: Sql,
): Promise<void> {
  if (jobs.length === 0) return
  const { attemptsMax } = jobTypes[type]
  const ids = jobs.map(() => newId())
  const traces = jobs.map(({ trace }, index) => traceOfJob(ids[index] ?? '', trace))
  await tx`
    with job as (
      insert into jobs (id, type, payload, attempts_max, actor, scopes, traceparent, tracestate, baggage)
      select id, ${type}, payload, ${attemptsMax}, ${actor}, ${scopes}, traceparent, tracestate, baggage
      from rows from (
        unnest(
          ${ids}::uuid[],
          ${traces.map(({ traceparent }) => traceparent)}::text[],
          ${traces.map(({ tracestate }) => tracestate ?? null)}::text[],
          ${traces.map(({ baggage }) => baggage ?? null)}::text[]
        ),
        -- One document: in an array of texts, each would be escaped a second time.
        json_array_elements(${JSON.stringify(jobs.map(({ payload }) => payload))}::text::json)
      ) as new (id, traceparent, tracestate, baggage, payload)
      returning id
    ) ${andDispatch(tx, tx`select id from job`)}
    select count(*) from job`
}

function traceOfJob(id: string, trace: TraceContext): TraceContext {
  return traceOfMessage(trace, { system: 'postgresql', destination: 'jobs', id })
}

/** A job. Its result is null for a request that may not read it. Throws `job_not_found`. */
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
