import { batched } from '#async'
import type { Sql } from '#database'
import { cutText, type Outcome, type ServiceError } from '#errors'
import { newId } from '#ids'
import { counter } from '#telemetry'
import { andDispatch } from '../dispatches.ts'
import { type Claim, workerTransaction } from './claim.ts'
import { takeClaimed } from './claimed-jobs.ts'

/** The longest wait for the next attempt. */
export const WAIT_MAX_SECONDS = 600
/** The most expired leases that one round ends: more workers than that do not die at once. */
const LOST_MAX = 100
/** The most jobs of unknown types that one round refuses: some 10 ms. */
const REFUSED_MAX = 1_000
/** The most jobs whose success one statement records: mostly more than a process has in flight. */
const SUCCEEDED_MAX = 200
/** Enough for all the columns of a file, and short enough for a page of jobs. */
export const ERROR_MAX = 4_000

const settled = counter('jobs_settled_total', 'Ended attempts at jobs, by the new state of the job.', ['state'])

interface Succeeded {
  jobId: string
  lease: string
  result: object
}

/** Records that a job has succeeded, together with others that succeed at the same time. False if the attempt no longer holds the lease. */
export const succeed = batched(SUCCEEDED_MAX, async (jobs: Succeeded[]) => {
  const succeeded = await workerTransaction(
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

/** Records that the job's input is unfit: the job is dead, without a dead letter. False if the attempt no longer holds the lease. */
export function refuse(jobId: string, lease: string, { code, detail }: ServiceError): Promise<boolean> {
  return workerTransaction(async (tx) => {
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

/** Records a failed attempt. `runJob` records success. Changes nothing if the worker no longer holds the job's lease. */
export async function recordFailure(claim: Claim, outcome: Outcome): Promise<void> {
  if (outcome.verdict !== 'acknowledge') await workerTransaction((tx) => fail(tx, claim, outcome))
}

/**
 * The job waits for its next attempt, up to 2, 4, 8 … seconds at random, 10 minutes at most. A rejected job, or a job that has used up its
 * attempts, is dead, and gets a dead letter in the same statement.
 */
async function fail(
  tx: Sql,
  { id, jobId }: Pick<Claim, 'id' | 'jobId'>,
  { verdict, error }: Exclude<Outcome, { verdict: 'acknowledge' }>,
): Promise<void> {
  const [job] = await tx<Array<{ state: 'retrying' | 'dead' }>>`
    with failed as (
      update jobs set state = case when ${verdict === 'reject'} or attempts >= attempts_max then 'dead' else 'retrying' end,
        run_at = clock_timestamp() + random() * least(${WAIT_MAX_SECONDS}::int, 2 ^ attempts) * interval '1 second',
        error = ${error}, lease = null, locked_until = null, updated_at = now()
      where id = ${jobId} and lease = ${id} and state = 'running'
      returning id, state, error, attempts
    ), letter as (
      insert into dead_letters (id, job_id, error, attempts)
      select ${newId()}, id, error, attempts from failed where state = 'dead'
    ) ${andDispatch(tx, tx`select id from failed where state = 'retrying'`)}
    select state from failed`
  if (job) settled.inc({ state: job.state })
}

/** Fails the attempts of dead workers, whose leases have expired. */
export function failLostJobs(): Promise<void> {
  return workerTransaction(async (tx) => {
    const lost = await tx<Array<{ id: string; jobId: string }>>`
      select lease as id, id as "jobId" from jobs where state = 'running' and locked_until <= clock_timestamp()
      limit ${LOST_MAX} for update skip locked`
    for (const job of lost) await fail(tx, job, { verdict: 'retry', error: 'The process that ran it is gone.' })
  })
}

/**
 * Dead-letters the jobs of all other types, which nothing here can run. It finds the types of waiting jobs by jumping from each type to the next in
 * the index, however many jobs one type has: https://wiki.postgresql.org/wiki/Loose_indexscan
 */
export function refuseUnknownJobs(types: readonly string[]): Promise<void> {
  return workerTransaction(async (tx) => {
    const isWaiting = tx`state in ('queued', 'retrying')`
    const rows = await tx<Array<{ id: string }>>`
      with recursive waiting as (
        select min(type) as type from jobs where ${isWaiting}
        union all
        select (select min(type) from jobs where ${isWaiting} and type > waiting.type) from waiting where type is not null
      )
      select id from jobs
      where ${isWaiting} and type = any(array(select type from waiting where type <> all(${types}::text[])))
      limit ${REFUSED_MAX} for update skip locked`
    if (rows.length === 0) return
    const ids = rows.map(({ id }) => id)
    await tx`
      with refused as (
        update jobs set state = 'dead', updated_at = now(),
          error = 'validation_failed: type: ''' || type || ''' is no type of job'
        where id = any(${ids}::uuid[]) returning id, error, attempts
      )
      insert into dead_letters (id, job_id, error, attempts)
      select letter_id, id, error, attempts
      from refused join unnest(${ids.map(() => newId())}::uuid[], ${ids}::uuid[]) as letter (letter_id, job_id) on job_id = id`
    settled.inc({ state: 'dead' }, rows.length)
  })
}

/**
 * Returns the unfinished jobs of a stopping worker to the queue, and undoes their attempts. It also dispatches them to the broker, since their
 * messages may already be acknowledged.
 */
export function handBack(claims: Claim[]): Promise<void> {
  for (const { id } of claims) takeClaimed(id)
  return workerTransaction(async (tx) => {
    await tx`
      with given as (
        update jobs set state = case attempts when 1 then 'queued' else 'retrying' end, attempts = attempts - 1,
          run_at = clock_timestamp(), lease = null, locked_until = null, updated_at = now()
        where state = 'running' and lease = any(${claims.map(({ id }) => id)}::text[])
        returning id
      ) ${andDispatch(tx, tx`select id from given`)}
      select count(*) from given`
  })
}
