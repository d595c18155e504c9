import { type Caller, read, type Sql, transaction } from '#database'
import { ServiceError } from '#errors'
import { newId } from '#ids'
import { andDispatch } from './dispatches.ts'
import { keepInput } from './input.ts'
import { columns, findJob, type JobRow, toJob } from './job-rows.ts'
import { type Job, type JobType, jobTypes } from './schema.ts'

interface NewJob {
  type: JobType
  payload: object
  /** The file that it is to work on. */
  input?: readonly Uint8Array[]
}

/** Queues a job: in the transaction of a change that asks for it, or else in its own, under the caller's idempotency key. */
export function submitJob(request: NewJob, caller: Caller, tx?: Sql): Promise<Job> {
  return tx ? insertJob(tx, request, caller) : transaction(caller, (own) => insertJob(own, request, caller))
}

async function insertJob(tx: Sql, { type, payload, input }: NewJob, { actor, trace }: Caller): Promise<Job> {
  const { attemptsMax, payload: schema } = jobTypes[type]
  const [row] = await tx<[JobRow]>`
    with job as (
      insert into jobs (id, type, payload, attempts_max, actor, traceparent, tracestate)
      values (${newId()}, ${type}, ${JSON.stringify(schema.parse(payload))}::text::json, ${attemptsMax}, ${actor},
              ${trace.traceparent}, ${trace.tracestate ?? null})
      returning *
    ) ${andDispatch(tx, tx`select id from job`)}
    select ${columns(tx)} from job`
  if (input) await keepInput(tx, row.id, input)
  return toJob(row)
}

/** Throws `job_not_found`. */
export async function getJob(id: string, caller: Caller): Promise<Job> {
  const job = await read(
    caller,
    (sql) => findJob(sql, id),
    (found) => found === undefined,
  )
  if (!job) throw jobNotFound(id)
  return job
}

export function jobNotFound(id: string): ServiceError {
  return new ServiceError('job_not_found', `There is no job with the id '${id}'.`)
}
