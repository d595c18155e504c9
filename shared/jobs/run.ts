import { batched, withTimeout } from '#async'
import { type RequestContext, type Sql, systemContext, transaction } from '#database'
import { cutText, invalid, notFound, ServiceError } from '#errors'
import { logger } from '#telemetry'
import { readInput } from './input.ts'
import { leaseEnd, settled, type TakenJob, takeClaimed, taken, takenColumns, writing } from './postgres/queue.ts'
import { type JobType, jobTypes, type PayloadOf } from './schema.ts'

/** One attempt at a job, as what does the work sees it. Its methods throw `busy` once the job is not this attempt's any more. */
export interface JobRun {
  /** On behalf of whoever submitted the job. */
  context: RequestContext
  progress: (done: number, total: number) => Promise<void>
  /** Adds rows to the table that is the job's result, in the commit of the progress. */
  save: (rows: object[], done: number, total: number) => Promise<void>
  /** What the last step of an earlier attempt left: this one goes on from there. Null if there was none. */
  checkpoint: unknown
  /** Does a part of the work in a transaction, and keeps in its commit how far the job is then. */
  step: (work: (tx: Sql) => Promise<Step>) => Promise<void>
  /** The file that was submitted with the job. Throws `validation_failed` if it is not kept any more. */
  input: () => AsyncIterable<Uint8Array>
}

/**
 * Thrown by work that can do nothing with what its submitter has sent, and won't be able to. The job is dead, and tells why; as nobody
 * but the submitter can mend it, there is no dead letter of it, and its file is not kept.
 */
export class UnfitInput extends Error {
  readonly reason: ServiceError

  constructor(reason: ServiceError) {
    super(reason.message)
    this.reason = reason
  }
}

export interface Step {
  done: number
  total: number
  checkpoint: object
}

/** What does the work of each type. Gives the job's result; UnfitInput or a 4xx thrown ends the job, any other is tried again. */
export type Runners = { [Type in JobType]: (payload: PayloadOf<Type>, run: JobRun) => Promise<object> }

/**
 * Runs the job by its type and keeps its result. `deliveryId` names the attempt: the worker has taken the job under it, or
 * else it is taken here, so an event that comes any other way does the same. A job that is over, or in another's hands, is
 * left alone. Throws `job_not_found`, `validation_failed` for a type or payload that nothing here can run, or what the work throws.
 */
export async function runJob(
  jobId: string,
  deliveryId: string,
  context: RequestContext,
  runners: Runners,
): Promise<object> {
  const job = takeClaimed(deliveryId) ?? (await takeUp(jobId, deliveryId, context))
  if (!job) return { jobId, ran: false }
  const { work, timeoutMs } = workOf(job, runners)
  const submitter = { ...systemContext(job.actor, context.trace), ...(job.scopes && { scopes: job.scopes }) }
  const run = startRun(jobId, deliveryId, submitter, job.checkpoint)
  const result = await withTimeout(timeoutMs, work(run), () => tooLong(timeoutMs)).catch((error) => {
    if (error instanceof UnfitInput) return error
    throw error
  })
  if (result instanceof UnfitInput) {
    requireOurs(await refuse(jobId, deliveryId, result.reason))
    logger().info(
      { job: jobId, actor: job.actor, reason: cutText(result.message, ERROR_MAX) },
      'what the job came with is unfit',
    )
  } else requireOurs(await finish({ jobId, lease: deliveryId, result }))
  return { jobId, ran: true }
}

/** Locks the job, sees that it is this delivery's, and clears what an earlier attempt has left. */
function takeUp(jobId: string, lease: string, context: RequestContext): Promise<TakenJob | undefined> {
  return transaction(context, async (tx) => {
    const [job] = await tx<Array<TakenJob & { state: string; lease: string | null }>>`
      select ${takenColumns(tx)}, state, lease from jobs where id = ${jobId} for update`
    if (!job) throw notFound('job', jobId)
    const isWaiting = job.state === 'queued' || job.state === 'retrying'
    if (!isWaiting && job.lease !== lease) return undefined
    if (isWaiting) await tx`update jobs set ${taken(tx, tx`${lease}`)} where id = ${jobId}`
    await tx`delete from job_results where job_id = ${jobId}`
    return job
  })
}

/** The work with its payload. Both are looked at only now, because a newer or an older version may have queued the job. */
function workOf({ type, payload }: TakenJob, runners: Runners) {
  if (!Object.hasOwn(jobTypes, type)) throw invalid('type', `'${type}' is no type of job`)
  const known = type as JobType
  const { payload: schema, timeoutMs } = jobTypes[known]
  const parsed = schema.safeParse(payload)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw invalid(['payload', ...(issue?.path ?? [])].join('.'), issue?.message ?? 'is unfit')
  }
  // The payload is of the type that the runner takes, which the compiler can't follow over a lookup by name.
  const runner = runners[known] as (payload: unknown, run: JobRun) => Promise<object>
  return { timeoutMs, work: (run: JobRun) => runner(parsed.data, run) }
}

function startRun(jobId: string, lease: string, context: RequestContext, checkpoint: unknown): JobRun {
  let chunks = 0
  return {
    context,
    checkpoint,
    async progress(done, total) {
      const moved = await transaction(context, (tx) => tx`${advance(tx, jobId, lease, done, total)}`)
      requireOurs(moved.count > 0)
    },
    async save(rows, done, total) {
      const number = chunks++
      const saved = await transaction(
        context,
        (tx) => tx`
          with job as (${advance(tx, jobId, lease, done, total)} returning id)
          insert into job_results (job_id, number, rows)
          select id, ${number}, ${JSON.stringify(rows)}::text::json from job`,
      )
      requireOurs(saved.count > 0)
    },
    step: (work) =>
      transaction(context, async (tx) => {
        const { done, total, checkpoint: reached } = await work(tx)
        const kept = tx`, checkpoint = ${JSON.stringify(reached)}::text::json`
        const moved = await advance(tx, jobId, lease, done, total, kept)
        requireOurs(moved.count > 0)
      }),
    input: () => readInput(jobId),
  }
}

/** Progress is a sign of life, too. */
function advance(sql: Sql, jobId: string, lease: string, done: number, total: number, more = sql``) {
  return sql`
    update jobs set progress_done = ${done}, progress_total = ${total}, locked_until = ${leaseEnd(sql)}, updated_at = now()
      ${more}
    where id = ${jobId} and lease = ${lease} and state = 'running'`
}

interface Finished {
  jobId: string
  lease: string
  result: object
}

/** Jobs whose success one statement writes down: more than a process has in hand, mostly. */
const FINISHED_MAX = 200

/** Writes down that a job has succeeded, with others whose work ends at the same time. False if it was not the attempt's any more. */
const finish = batched(FINISHED_MAX, async (jobs: Finished[]) => {
  const succeeded = await writing(
    (tx) => tx<Array<{ id: string }>>`
      with succeeded as (
        update jobs set state = 'succeeded', result = finished.result, error = null, lease = null, locked_until = null,
          checkpoint = null, updated_at = now()
        from rows from (
          unnest(${jobs.map(({ jobId }) => jobId)}::uuid[], ${jobs.map(({ lease }) => lease)}::text[]),
          json_array_elements(${JSON.stringify(jobs.map(({ result }) => result))}::text::json)
        ) as finished (id, lease, result)
        where jobs.id = finished.id and jobs.lease = finished.lease and state = 'running'
        returning jobs.id
      ), dropped as (
        delete from job_inputs where job_id in (select id from succeeded)
      )
      select id from succeeded`,
  )
  settled.inc({ state: 'succeeded' }, succeeded.length)
  const ids = new Set(succeeded.map(({ id }) => id))
  return jobs.map(({ jobId }) => ids.has(jobId))
})

/** Long enough for all the columns of a file; whatever else is in it, a page of jobs stays a page. */
const ERROR_MAX = 4_000

/** Writes down that nothing can be done with what came with the job. False if it was not the attempt's any more. */
function refuse(jobId: string, lease: string, { code, detail }: ServiceError): Promise<boolean> {
  return writing(async (tx) => {
    const { count } = await tx`
      with refused as (
        update jobs set state = 'dead', error = ${cutText(`${code}: ${detail}`, ERROR_MAX)}, lease = null, locked_until = null,
          checkpoint = null, updated_at = now()
        where id = ${jobId} and lease = ${lease} and state = 'running'
        returning id
      ), dropped as (
        delete from job_inputs where job_id in (select id from refused)
      )
      select id from refused`
    settled.inc({ state: 'dead' }, count)
    return count > 0
  })
}

function requireOurs(isOurs: boolean): void {
  if (!isOurs) throw new ServiceError('busy', 'The job has been taken up by another attempt meanwhile.')
}

/** The work can change nothing of the job after that: the attempt is over. */
function tooLong(limitMs: number): ServiceError {
  return new ServiceError('unavailable', `The attempt took longer than ${limitMs} ms.`)
}
