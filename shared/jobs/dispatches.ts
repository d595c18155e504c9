import type { Sql } from '#database'
import type { StoredTrace } from '#telemetry'
import { brokerSettings } from './settings.ts'

/**
 * A last item for a statement's `with`, including the comma. It makes the jobs that `jobIds` selects be dispatched to the broker once the
 * transaction has committed. Empty if there is no broker.
 */
export function andDispatch(sql: Sql, jobIds: ReturnType<Sql>) {
  return brokerSettings() ? sql`, dispatch as (insert into job_dispatches (job_id) ${jobIds})` : sql``
}

export interface Dispatch {
  sequence: number
  /** Undefined for a job that no longer waits, and so is not dispatched. */
  job: DispatchedJob | undefined
}

interface DispatchedJob extends StoredTrace {
  id: string
  type: string
  delayMs: number
}

/** The first `limit` dispatches, with the contents of their messages. */
export async function readDispatches(tx: Sql, limit: number): Promise<Dispatch[]> {
  const rows = await tx<Array<Omit<DispatchedJob, 'id'> & { sequence: number; id: string | null }>>`
    select dispatch.sequence, job.id, job.type, job.traceparent, job.tracestate, job.baggage,
           (extract(epoch from job.run_at - clock_timestamp()) * 1000)::float8 as "delayMs"
    from (select sequence, job_id from job_dispatches order by sequence limit ${limit}) as dispatch
    left join jobs as job on job.id = dispatch.job_id and job.state in ('queued', 'retrying')
    order by dispatch.sequence`
  return rows.map(({ sequence, id, ...job }) => ({ sequence, job: id === null ? undefined : { id, ...job } }))
}

export async function removeDispatches(tx: Sql, sequences: number[]): Promise<void> {
  await tx`delete from job_dispatches where sequence = any(${sequences}::bigint[])`
}

export async function hasDispatches(sql: Sql): Promise<boolean> {
  const rows = await sql`select 1 from job_dispatches limit 1`
  return rows.length > 0
}

/**
 * Dispatches again up to `limit` jobs of these types that have been due for `overdueMs` and have no dispatch. Returns their number. It makes each
 * job due now, so that the job is found again only after it has been overdue for as long once more.
 */
export async function dispatchOverdue(tx: Sql, types: string[], overdueMs: number, limit: number): Promise<number> {
  const { count } = await tx`
    with overdue as (
      update jobs set run_at = clock_timestamp()
      where id = any(array(
        select id from jobs
        where type = any(${types}::text[]) and state in ('queued', 'retrying')
          and run_at < clock_timestamp() - ${overdueMs}::int * interval '1 millisecond'
          and not exists (select from job_dispatches where job_id = jobs.id)
        order by run_at limit ${limit} for update skip locked
      ))
      returning id
    )
    insert into job_dispatches (job_id) select id from overdue`
  return count
}
