import { prune, type RequestContext, type Sql, transaction } from '#database'
import { jobTypes } from './job-types.ts'

/** How long the file of a dead job is kept. */
const INPUT_KEPT_DAYS = 30
/** The most files per run: each may have 32 MiB, and many of them would exceed a statement's time-out. */
const INPUTS_MAX = 10

/**
 * Deletes succeeded jobs past their type's `keptDays`, with their results, and jobs whose input was unfit. Other dead jobs stay until they are
 * redriven; their files are deleted after 30 days. Returns the number of deleted rows.
 */
export async function pruneJobs(context: RequestContext): Promise<number> {
  // Results first: a job may have thousands of rows, too many to delete together with it in one statement. A dead job's rows are half a result,
  // which another attempt would begin anew.
  const rows = await prune(
    context,
    (tx, limit) => tx`
      delete from job_results where ctid = any(array(
        select job_results.ctid from job_results join jobs on id = job_id where ${isOld(tx)} or state = 'dead'
        limit ${limit}
      ))`,
  )
  const jobs = await prune(
    context,
    (tx, limit) => tx`
      delete from jobs where id = any(array(
        select id from jobs
        where ${isOld(tx)} and not exists (select from job_results where job_id = id)
        order by updated_at limit ${limit}
      ))`,
  )
  const refused = await prune(
    context,
    (tx, limit) => tx`
      delete from jobs where id = any(array(
        select id from jobs
        where state = 'dead' and not ${isKept(tx)} and not exists (select from dead_letters where job_id = jobs.id)
        order by updated_at limit ${limit}
      ))`,
  )
  const { count: blocks } = await transaction(
    context,
    (tx) => tx`
      delete from job_inputs where job_id = any(array(
        select job_id from job_inputs join jobs on id = job_id
        where number = 0 and state = 'dead' and updated_at <= now() - ${INPUT_KEPT_DAYS}::int * interval '1 day' limit ${INPUTS_MAX}
      ))`,
  )
  return rows + jobs + refused + blocks
}

/** Whether a succeeded job is still shown: a result must not be read while it is being deleted. */
export function isKept(sql: Sql) {
  return sql`updated_at > now() - ${daysOf(sql)} * interval '1 day'`
}

function daysOf(sql: Sql) {
  const types = Object.entries(jobTypes)
  const [names, days] = [types.map(([name]) => name), types.map(([, { keptDays }]) => keptDays)]
  return sql`coalesce((${days}::int[])[array_position(${names}::text[], type)], ${Math.max(...days)}::int)`
}

/**
 * The bound on `updated_at` repeats a part of the condition in a form that the index supports: the scan then skips the millions of rows of the last
 * day.
 */
function isOld(sql: Sql) {
  const shortest = Math.min(...Object.values(jobTypes).map(({ keptDays }) => keptDays))
  return sql`state = 'succeeded' and updated_at <= now() - ${shortest}::int * interval '1 day' and not ${isKept(sql)}`
}
