import { vi } from 'vitest'
import { systemContext } from '#database'
import type { Outcome } from '#errors'
import { submitJob } from '#jobs'
import { sql } from '#testing'
import { inRabbit, rabbitUrl, useBroker } from '#testing/rabbit'
import { type Claim, claimJobs } from '../attempts/claim.ts'
import { type JobType, jobTypes } from '../job-types.ts'
import type { Job } from '../schema.ts'
import { work } from '../work.ts'
import type { Worker } from '../worker.ts'

/** The sources that can tell that a job is due. A suite that only uses the port runs with each of them. */
export const adapters = [
  { where: 'in the table', isThere: true, start: async () => async () => {} },
  {
    where: inRabbit,
    isThere: rabbitUrl !== undefined,
    start: async () => (await useBroker(rabbitUrl ?? '')).stop,
  },
]

const started: Worker[] = []
export const acknowledge: Outcome = { verdict: 'acknowledge' }
export const submit = (type: JobType = 'verify-ledger'): Promise<Job> =>
  submitJob({ type, payload: {} }, systemContext('api-key:test'))

export function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

/** Claims the job that has been due the longest, like a worker that then disappears. */
export async function claimOne(): Promise<Claim> {
  const [claim] = await claimJobs(new Map(Object.keys(jobTypes).map((type) => [type, 1])))
  if (!claim) throw new Error('nothing was due')
  return claim
}

export const until = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 })

/**
 * Removes all jobs. A worker or a dispatcher that runs beside it takes locks in another order: if a deadlock aborts this statement, it is tried
 * again.
 */
export async function emptyJobs(): Promise<void> {
  await until(() => sql`truncate jobs, job_dispatches cascade`)
}

/** Works on the queue, and stops with the test. `run` runs the delivered jobs; the success of a run is recorded in the database. */
export function start(run: (claim: Claim) => Outcome | Promise<Outcome>): Worker & { jobIds: string[] } {
  const jobIds: string[] = []
  const worker = work({
    queue: 'jobs',
    deliver: async (claim) => {
      jobIds.push(claim.jobId)
      const outcome = await run(claim)
      if (outcome.verdict === 'acknowledge') await succeed(claim)
      return outcome
    },
  })
  started.push(worker)
  return { ...worker, jobIds }
}

const succeed = ({ id, jobId }: Claim) => sql`
  update jobs set state = 'succeeded', lease = null, locked_until = null where id = ${jobId} and lease = ${id}`

export async function stopAll(): Promise<void> {
  await Promise.all(started.splice(0).map((worker) => worker.stop()))
}

export async function row(id: string) {
  const [job] = await sql`
    select state, attempts, error, lease, extract(epoch from run_at - now())::float8 as "dueInSeconds" from jobs where id = ${id}`
  return job
}

export const letters = () => sql`select job_id, error, attempts from dead_letters`
