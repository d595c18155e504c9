import type * as z from 'zod'
import { withTimeout } from '#async'
import { type RequestContext, type Sql, systemContext, transaction } from '#database'
import { cutText, invalid, ServiceError } from '#errors'
import { histogram, inSpan, logger, tracing } from '#telemetry'
import { readInput } from '../input.ts'
import { isJobType, type JobType, jobTypes } from '../job-types.ts'
import { claimById, leaseEnd } from './claim.ts'
import { type ClaimedJob, takeClaimed } from './claimed-jobs.ts'
import { ERROR_MAX, refuse, succeed } from './end-attempt.ts'

/** One attempt at a job, for its runner. Its methods throw `busy` once the attempt no longer holds the job's lease. */
export interface JobRun {
  /** The context of the job's submitter. */
  context: RequestContext
  progress: (done: number, total: number) => Promise<void>
  /** Adds rows to the table that is the job's result, and records progress in the same commit. */
  save: (rows: object[], done: number, total: number) => Promise<void>
  /** The checkpoint of the last step of an earlier attempt, from which this one continues; null if there was none. */
  checkpoint: unknown
  /** Does a part of the work in a transaction, and records its checkpoint and progress in the same commit. */
  step: (work: (tx: Sql) => Promise<Step>) => Promise<void>
  /** The file that was submitted with the job. Throws `validation_failed` if it has been deleted. */
  input: () => AsyncIterable<Uint8Array>
}

/**
 * Thrown by a runner whose input is unfit and will stay so. The job is then dead with this reason. It gets no dead letter, and its file is deleted,
 * because only the submitter can send a better one.
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

/**
 * Runs the jobs of a type, whose payloads `schema` describes, and returns a job's result. UnfitInput or a 4xx ends the job; any other error is
 * retried.
 */
export interface Runner {
  schema: z.ZodType
  run: (payload: never, run: JobRun) => Promise<object>
}

const durations = histogram(
  'job_duration_seconds',
  'Time of an attempt at a job that `succeeded`, `failed`, or had an input that is `unfit` for good.',
  ['type', 'outcome'],
  [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300],
)

type Runners = Readonly<Record<JobType, Runner>>

/**
 * A runner whose payload has the type of its schema.
 *
 * @example
 * const stockJobs = { 'verify-ledger': runner(z.strictObject({}), (_, run) => auditStock(run.progress)) }
 */
export function runner<Schema extends z.ZodType>(
  schema: Schema,
  run: (payload: z.output<Schema>, run: JobRun) => Promise<object>,
): Runner {
  return { schema, run }
}

/**
 * Runs the job by its type and records its success. `deliveryId` is the lease. If the worker has not claimed the job under it, the job is claimed
 * here, so that an event from elsewhere has the same effect. Skips a job that is over, or claimed by another worker. Throws `job_not_found`,
 * `validation_failed` for an unknown type or an unfit payload, or the runner's error.
 *
 * @example
 * await runJob(data.jobId, attributes.id, context, { ...productJobs, ...stockJobs, ...webhookJobs })
 */
export async function runJob(
  jobId: string,
  deliveryId: string,
  context: RequestContext,
  runners: Runners,
): Promise<object> {
  const job = takeClaimed(deliveryId) ?? (await claimById(jobId, deliveryId, context))
  if (!job) return { jobId, ran: false }
  tracing()?.current()?.setAttributes({ 'job.id': jobId, 'job.type': job.type })
  const { work, timeoutMs } = workOf(job, runners)
  const submitter = { ...systemContext(job.actor, context.trace), ...(job.scopes && { scopes: job.scopes }) }
  const run = startRun(jobId, deliveryId, submitter, job.checkpoint)
  const attempt = withTimeout(timeoutMs, work(run), () => tooLong(timeoutMs))
  const result = await measured(job.type, attempt).catch((error) => {
    if (error instanceof UnfitInput) return error
    throw error
  })
  if (result instanceof UnfitInput) {
    assertLeaseHeld(await refuse(jobId, deliveryId, result.reason))
    logger().info(
      { job: jobId, actor: job.actor, reason: cutText(result.message, ERROR_MAX) },
      'job dead: its input is unfit',
    )
  } else assertLeaseHeld(await succeed({ jobId, lease: deliveryId, result }))
  return { jobId, ran: true }
}

async function measured<Result>(type: string, attempt: Promise<Result>): Promise<Result> {
  const startedAt = performance.now()
  const observe = (outcome: string) => durations.observe({ type, outcome }, (performance.now() - startedAt) / 1000)
  try {
    const result = await attempt
    observe('succeeded')
    return result
  } catch (error) {
    observe(error instanceof UnfitInput ? 'unfit' : 'failed')
    throw error
  }
}

/** The runner with its payload. Both are checked here, because another version of this service may have queued the job. */
function workOf({ type, payload }: ClaimedJob, runners: Runners) {
  if (!isJobType(type)) throw invalid('type', `'${type}' is no type of job`)
  const { schema, run } = runners[type]
  const parsed = schema.safeParse(payload)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw invalid(['payload', ...(issue?.path ?? [])].join('.'), issue?.message ?? 'is unfit')
  }
  return { timeoutMs: jobTypes[type].timeoutMs, work: (attempt: JobRun) => run(parsed.data as never, attempt) }
}

function startRun(jobId: string, lease: string, context: RequestContext, checkpoint: unknown): JobRun {
  let chunks = 0
  return {
    context,
    checkpoint,
    async progress(done, total) {
      const moved = await transaction(context, (tx) => tx`${advance(tx, jobId, lease, done, total)}`)
      assertLeaseHeld(moved.count > 0)
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
      assertLeaseHeld(saved.count > 0)
    },
    step: (work) =>
      inSpan('job step', {}, async () => {
        const { done, total } = await transaction(context, async (tx) => {
          const reached = await work(tx)
          const kept = tx`, checkpoint = ${JSON.stringify(reached.checkpoint)}::text::json`
          const moved = await advance(tx, jobId, lease, reached.done, reached.total, kept)
          assertLeaseHeld(moved.count > 0)
          return reached
        })
        tracing()?.current()?.setAttributes({ 'job.done': done, 'job.total': total })
      }),
    input: () => readInput(jobId),
  }
}

/** Also renews the lease. */
function advance(sql: Sql, jobId: string, lease: string, done: number, total: number, more = sql``) {
  return sql`
    update jobs set progress_done = ${done}, progress_total = ${total}, locked_until = ${leaseEnd(sql)}, updated_at = now()
      ${more}
    where id = ${jobId} and lease = ${lease} and state = 'running'`
}

function assertLeaseHeld(isHeld: boolean): void {
  if (!isHeld) throw new ServiceError('busy', 'The job has been taken up by another attempt meanwhile.')
}

function tooLong(limitMs: number): ServiceError {
  return new ServiceError('unavailable', `The attempt took longer than ${limitMs} ms.`)
}
