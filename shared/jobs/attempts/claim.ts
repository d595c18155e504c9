import { afterCommit, type RequestContext, type Sql, systemContext, transaction, unresumed } from '#database'
import { notFound } from '#errors'
import type { StoredTrace } from '#telemetry'
import { type ClaimedJob, cacheClaimed } from './claimed-jobs.ts'

/** The lease of a claim. It covers three renewals, so one or two may fail. */
export const LEASE_MS = 30_000

/** A job that a worker of this process has claimed. `id` is the lease: a later delivery of the same job has another id. */
export interface Claim extends StoredTrace {
  id: string
  jobId: string
  type: string
  /** Includes this attempt. */
  attempts: number
}

type Fragment = ReturnType<Sql>

export const workerTransaction = <Result>(work: (tx: Sql) => Promise<Result>) =>
  transaction(systemContext('function:jobs'), work)

/** Claims due jobs, the longest due first, up to each type's free slots. Skips rows that another worker is claiming. */
export async function claimJobs(slots: ReadonlyMap<string, number>): Promise<Claim[]> {
  if (slots.size === 0) return []
  return workerTransaction((tx) => {
    const due = tx`
      select due.id from unnest(${[...slots.keys()]}::text[], ${[...slots.values()]}::int[]) as slots (type, free)
      cross join lateral (
        select id from jobs where type = slots.type and state in ('queued', 'retrying') and run_at <= now()
        order by run_at limit slots.free for update skip locked
      ) as due`
    return claimRows(tx, tx`id = any(array(${due}))`, tx`gen_random_uuid()::text`)
  })
}

/**
 * Claims the jobs that `which` selects, under `lease`, and deletes the results of earlier attempts. Claims none while a restored database waits.
 * `from` adds a table that `which` and `lease` may use.
 */
export async function claimRows(tx: Sql, which: Fragment, lease: Fragment, from?: Fragment): Promise<Claim[]> {
  const rows = await tx<Array<Claim & ClaimedJob>>`
    update jobs set ${begun(tx, lease)} ${from ? tx`from ${from}` : tx``}
    where ${which} and not ${unresumed(tx)}
    returning lease as id, jobs.id as "jobId", ${claimedColumns(tx)}, traceparent, tracestate, baggage, attempts`
  const retried = rows.filter(({ attempts }) => attempts > 1).map(({ jobId }) => jobId)
  if (retried.length > 0) await tx`delete from job_results where job_id = any(${retried}::uuid[])`
  return rows.map(({ id, jobId, traceparent, tracestate, baggage, attempts, ...job }) => {
    afterCommit(tx, () => cacheClaimed(id, job))
    return { id, jobId, type: job.type, traceparent, tracestate, baggage, attempts }
  })
}

/**
 * Claims one job under `lease`, or confirms that it is already claimed under it, and deletes the results of earlier attempts. Undefined for a job
 * that is over, or claimed by another worker. Throws `job_not_found`.
 */
export function claimById(jobId: string, lease: string, context: RequestContext): Promise<ClaimedJob | undefined> {
  return transaction(context, async (tx) => {
    const [job] = await tx<Array<ClaimedJob & { state: string; lease: string | null }>>`
      select ${claimedColumns(tx)}, state, lease from jobs where id = ${jobId} for update`
    if (!job) throw notFound('job', jobId)
    const isWaiting = job.state === 'queued' || job.state === 'retrying'
    if (!isWaiting && job.lease !== lease) return undefined
    if (isWaiting) await tx`update jobs set ${begun(tx, tx`${lease}`)} where id = ${jobId}`
    await tx`delete from job_results where job_id = ${jobId}`
    return job
  })
}

function claimedColumns(sql: Sql) {
  return sql`type, payload, actor, scopes, checkpoint`
}

/** The assignments that begin an attempt. */
function begun(sql: Sql, lease: Fragment) {
  return sql`state = 'running', attempts = attempts + 1, lease = ${lease}, locked_until = ${leaseEnd(sql)},
             progress_done = 0, progress_total = 0, updated_at = now()`
}

export function leaseEnd(sql: Sql) {
  return sql`clock_timestamp() + ${LEASE_MS}::int * interval '1 millisecond'`
}

/** The heartbeat. False if the worker no longer holds the lease. */
export function renewLease({ id, jobId }: Claim): Promise<boolean> {
  return workerTransaction(async (tx) => {
    const { count } = await tx`update jobs set locked_until = ${leaseEnd(tx)} where id = ${jobId} and lease = ${id}`
    return count === 1
  })
}
