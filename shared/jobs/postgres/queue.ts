import { afterCommit, type Scope, type Sql, systemContext, transaction } from '#database'
import type { Outcome } from '#errors'
import { newId } from '#ids'
import { counter } from '#telemetry'
import { andDispatch } from '../dispatches.ts'

/** How long a worker is believed in without a sign of life. Three signs fit in, so one or two may get lost. */
export const LEASE_MS = 30_000
/** The longest wait for the next attempt. */
export const WAIT_MAX_SECONDS = 600
/** Lost jobs that one look deals with: more workers than that don't die at once. */
const LOST_MAX = 100
/** Jobs that are refused at a look: some 10 ms. */
const REFUSED_MAX = 1_000

/** A job that this process has taken on. `id` is of this delivery: a later one of the same job has another. */
export interface Claim {
  id: string
  jobId: string
  type: string
  traceparent: string
  tracestate: string | null
}

/** What an attempt needs to know of its job. */
export interface TakenJob {
  type: string
  payload: unknown
  actor: string
  /** Null: whoever submitted it may do everything. */
  scopes: Scope[] | null
  /** What the last step of an earlier attempt left. */
  checkpoint: unknown
}

export function takenColumns(sql: Sql) {
  return sql`type, payload, actor, scopes, checkpoint`
}

/** The jobs that this process's worker has claimed and that have not been begun, by the claim's id: what begins one need not ask for it. */
const claimed = new Map<string, TakenJob>()

/** The job of a claim of this process, once: whoever comes with the same id after that is another. */
export function takeClaimed(id: string): TakenJob | undefined {
  const job = claimed.get(id)
  claimed.delete(id)
  return job
}

export const settled = counter('jobs_settled_total', 'Attempts at jobs, by what became of the job.', ['state'])

export const writing = <Result>(work: (tx: Sql) => Promise<Result>) => transaction(systemContext('function:jobs'), work)

/**
 * Takes jobs that are due, the longest due first: of each type as many as there are slots, which are the caller's to take. Rows that
 * another worker is taking are passed over.
 */
export async function claimJobs(slots: ReadonlyMap<string, number>): Promise<Claim[]> {
  if (slots.size === 0) return []
  return writing((tx) => {
    const due = tx`
      select due.id from unnest(${[...slots.keys()]}::text[], ${[...slots.values()]}::int[]) as slots (type, free)
      cross join lateral (
        select id from jobs where type = slots.type and state in ('queued', 'retrying') and run_at <= now()
        order by run_at limit slots.free for update skip locked
      ) as due`
    return claimRows(tx, tx`id = any(array(${due}))`, tx`gen_random_uuid()::text`)
  })
}

/** Takes the jobs that `which` tells, under `lease`, and clears what earlier attempts have left. `more` are further tables to choose from. */
export async function claimRows(tx: Sql, which: Fragment, lease: Fragment, more?: Fragment): Promise<Claim[]> {
  const rows = await tx<Array<Claim & TakenJob & { attempts: number }>>`
    update jobs set ${taken(tx, lease)} ${more ? tx`from ${more}` : tx``} where ${which}
    returning lease as id, jobs.id as "jobId", ${takenColumns(tx)}, traceparent, tracestate, attempts`
  const again = rows.filter(({ attempts }) => attempts > 1).map(({ jobId }) => jobId)
  if (again.length > 0) await tx`delete from job_results where job_id = any(${again}::uuid[])`
  return rows.map(({ id, jobId, traceparent, tracestate, attempts: _, ...job }) => {
    afterCommit(tx, () => claimed.set(id, job))
    return { id, jobId, type: job.type, traceparent, tracestate }
  })
}

type Fragment = ReturnType<Sql>

/** What a job is set to when an attempt at it begins. */
export function taken(sql: Sql, lease: Fragment) {
  return sql`state = 'running', attempts = attempts + 1, lease = ${lease}, locked_until = ${leaseEnd(sql)},
             progress_done = 0, progress_total = 0, updated_at = now()`
}

export function leaseEnd(sql: Sql) {
  return sql`clock_timestamp() + ${LEASE_MS}::int * interval '1 millisecond'`
}

/** A sign of life of the worker. False if the job is not its own any more. */
export function keepJob({ id, jobId }: Claim): Promise<boolean> {
  return writing(async (tx) => {
    const { count } = await tx`update jobs set locked_until = ${leaseEnd(tx)} where id = ${jobId} and lease = ${id}`
    return count === 1
  })
}

/** Writes down that an attempt has failed, if it has; a job that is not the worker's any more is left alone. */
export async function settleJob(claim: Claim, outcome: Outcome): Promise<void> {
  if (outcome.verdict !== 'acknowledge') await writing((tx) => fail(tx, claim, outcome))
}

/**
 * The job waits for its next attempt, up to 2, 4, 8 … seconds at random, 10 minutes at most; or it is dead, for good or for
 * want of attempts, and gets a dead letter in the same statement.
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

/**
 * Has jobs die at once that are of none of these types: nobody could run them. The types that wait are found by jumping from each to
 * the next in the index, however many jobs there are of one: https://wiki.postgresql.org/wiki/Loose_indexscan
 */
export function refuseUnknownJobs(types: readonly string[]): Promise<void> {
  return writing(async (tx) => {
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

/** Ends the attempts of workers that have died, so that their jobs are tried again, or die with them. */
export function failLostJobs(): Promise<void> {
  return writing(async (tx) => {
    const lost = await tx<Array<{ id: string; jobId: string }>>`
      select lease as id, id as "jobId" from jobs where state = 'running' and locked_until <= clock_timestamp()
      limit ${LOST_MAX} for update skip locked`
    for (const job of lost) await fail(tx, job, { verdict: 'retry', error: 'The process that ran it is gone.' })
  })
}

/**
 * Gives jobs back that a stopping worker has not finished, as if they had not been tried. The broker is told of them anew: the message
 * that each came with may be acknowledged already.
 */
export function handBack(claims: Claim[]): Promise<void> {
  for (const { id } of claims) claimed.delete(id)
  return writing(async (tx) => {
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
