import { prune, type RequestContext, type Sql, transaction } from '#database'
import { jobTypes } from './job-types.ts'

/** The file of a dead job. */
const INPUT_KEPT_DAYS = 30
/** Files that one run deletes: each may have 32 MiB, and more than a few would take longer than a statement may. */
const INPUTS_MAX = 10

/**
 * Deletes jobs that succeeded long enough ago, with their results, and those whose submitters sent what was unfit. Other dead ones
 * stay until they are redriven, but for their files, which go after 30 days.
 */
export async function pruneJobs(context: RequestContext): Promise<number> {
  // The rows of results first: a job may have thousands of them, too many to go with it in one statement. What a dead one has left is
  // half a result, which another attempt would begin anew.
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

/** Whether a job that succeeded is still shown: a result that is being deleted must not be read. */
export function isKept(sql: Sql) {
  return sql`updated_at > now() - ${daysOf(sql)} * interval '1 day'`
}

function daysOf(sql: Sql) {
  const types = Object.entries(jobTypes)
  const [names, days] = [types.map(([name]) => name), types.map(([, { keptDays }]) => keptDays)]
  return sql`coalesce((${days}::int[])[array_position(${names}::text[], type)], ${Math.max(...days)}::int)`
}

/** Also in words that the index understands, so that nobody looks at the millions of the last day. */
function isOld(sql: Sql) {
  const shortest = Math.min(...Object.values(jobTypes).map(({ keptDays }) => keptDays))
  return sql`state = 'succeeded' and updated_at <= now() - ${shortest}::int * interval '1 day' and not ${isKept(sql)}`
}
