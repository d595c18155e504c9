import { type Caller, prune, type Sql } from '#database'

/** How long a job that succeeded can be asked for. */
const KEPT_DAYS = 30

/** Deletes jobs that succeeded more than 30 days ago, with their results. Dead ones stay until they are redriven. */
export async function pruneJobs(caller: Caller): Promise<number> {
  // The rows of results first: a job may have thousands of them, too many to go with it in one statement.
  const rows = await prune(
    caller,
    (tx, limit) => tx`
      delete from job_results where ctid = any(array(
        select job_results.ctid from job_results join jobs on id = job_id where state = 'succeeded' and not ${isKept(tx)}
        limit ${limit}
      ))`,
  )
  const jobs = await prune(
    caller,
    (tx, limit) => tx`
      delete from jobs where id = any(array(
        select id from jobs
        where state = 'succeeded' and not ${isKept(tx)} and not exists (select from job_results where job_id = id)
        order by updated_at limit ${limit}
      ))`,
  )
  return rows + jobs
}

/** Whether a job that succeeded is still shown: a result that is being deleted must not be read. */
export function isKept(sql: Sql) {
  return sql`updated_at > now() - ${KEPT_DAYS}::int * interval '1 day'`
}
