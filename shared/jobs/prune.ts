import { type Caller, prune, type Sql, transaction } from '#database'

/**
 * How long a job that succeeded can be asked for. One that has sent an event to a webhook says nothing that anybody would come
 * back for, and there may be millions of them a day.
 */
const KEPT_DAYS = 30
const KEPT_DAYS_OF_DELIVERIES = 1
/** Files that one run deletes: each may have 32 MiB, and more than a few would take longer than a statement may. */
const INPUTS_MAX = 10

/**
 * Deletes jobs that succeeded long enough ago, with their results. Dead ones stay until they are redriven, but for their
 * files, which go after 30 days.
 */
export async function pruneJobs(caller: Caller): Promise<number> {
  // The rows of results first: a job may have thousands of them, too many to go with it in one statement.
  const rows = await prune(
    caller,
    (tx, limit) => tx`
      delete from job_results where ctid = any(array(
        select job_results.ctid from job_results join jobs on id = job_id where ${isOld(tx)}
        limit ${limit}
      ))`,
  )
  const jobs = await prune(
    caller,
    (tx, limit) => tx`
      delete from jobs where id = any(array(
        select id from jobs
        where ${isOld(tx)} and not exists (select from job_results where job_id = id)
        order by updated_at limit ${limit}
      ))`,
  )
  const { count: blocks } = await transaction(
    caller,
    (tx) => tx`
      delete from job_inputs where job_id = any(array(
        select job_id from job_inputs join jobs on id = job_id
        where number = 0 and state = 'dead' and updated_at <= now() - ${KEPT_DAYS}::int * interval '1 day' limit ${INPUTS_MAX}
      ))`,
  )
  return rows + jobs + blocks
}

/** Whether a job that succeeded is still shown: a result that is being deleted must not be read. */
export function isKept(sql: Sql) {
  const days = sql`case type when 'deliver-webhook' then ${KEPT_DAYS_OF_DELIVERIES}::int else ${KEPT_DAYS}::int end`
  return sql`updated_at > now() - ${days} * interval '1 day'`
}

/** Also in words that the index understands, so that nobody looks at the millions of the last day. */
function isOld(sql: Sql) {
  const shortest = sql`now() - ${KEPT_DAYS_OF_DELIVERIES}::int * interval '1 day'`
  return sql`state = 'succeeded' and updated_at <= ${shortest} and not ${isKept(sql)}`
}
