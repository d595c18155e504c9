import { askPrimary } from '#database'
import { COUNT_MAX, gauge, measure } from '#telemetry'
import { jobTypes } from './job-types.ts'

const unfinished = gauge('jobs_unfinished', `Jobs that are not over, counted to ${COUNT_MAX} of each type and state.`, [
  'type',
  'state',
])
const dead = gauge(
  'jobs_dead',
  `Dead letters of jobs, which wait for an operator, counted to ${COUNT_MAX}. A job with unfit input has none: it is its client's to mend.`,
  ['type'],
)
const oldestDue = gauge('jobs_oldest_due_seconds', 'How long the longest due job has waited for a worker.', ['type'])

/** Counts the jobs by type and state. Each part reads the first rows of an index, in the index's order: see COUNT_MAX. */
export function measureJobs(): Promise<void> {
  return measure('jobs', [unfinished, dead, oldestDue], async () => {
    const [counts, due] = await Promise.all([readCounts(), readOldestDue()])
    const countOf = (type: string, state: string) =>
      counts.find((row) => row.type === type && row.state === state)?.count
    for (const type of Object.keys(jobTypes)) {
      for (const state of ['queued', 'retrying', 'running']) unfinished.set({ type, state }, countOf(type, state) ?? 0)
      dead.set({ type }, countOf(type, 'dead') ?? 0)
      oldestDue.set({ type }, due.find((row) => row.type === type)?.seconds ?? 0)
    }
  })
}

function readCounts() {
  return askPrimary(
    (sql) => sql<Array<{ type: string; state: string; count: number }>>`
    with waiting as (
      select jobs.type, state from unnest(${Object.keys(jobTypes)}::text[]) as types (type)
      cross join lateral (
        select type, state from jobs where jobs.type = types.type and state in ('queued', 'retrying')
        order by run_at limit ${COUNT_MAX}
      ) as jobs
    ), running as (
      select type, state from jobs where state = 'running' order by locked_until limit ${COUNT_MAX}
    ), dead as (
      select type, 'dead' as state from (
        select job_id from dead_letters where redriven_at is null order by id limit ${COUNT_MAX}
      ) as letter join jobs on id = job_id
    )
    select type, state, count(*) as count
    from (table waiting union all table running union all table dead) as counted group by type, state`,
  )
}

function readOldestDue() {
  return askPrimary(
    (sql) => sql<Array<{ type: string; seconds: number }>>`
    select types.type, extract(epoch from clock_timestamp() - min(run_at))::float8 as seconds
    from unnest(${Object.keys(jobTypes)}::text[]) as types (type)
    cross join lateral (
      select run_at from jobs where jobs.type = types.type and state in ('queued', 'retrying') and run_at <= now()
      order by run_at limit 1
    ) as due
    group by types.type`,
  )
}
