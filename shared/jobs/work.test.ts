import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { systemCaller } from '#database'
import type { Outcome } from '#errors'
import { submitJob } from '#jobs'
import { sql } from '#testing'
import { type Claim, claimJobs, handBack, keepJob, settleJob } from './queue.ts'
import type { Job } from './schema.ts'
import { type Worker, work } from './work.ts'

const started: Worker[] = []
const acknowledge: Outcome = { verdict: 'acknowledge' }
const submit = (): Promise<Job> => submitJob({ type: 'verify-ledger', payload: {} }, systemCaller('api-key:test'))
const until = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 10 })

/** Works the queue, and stops with the test. What it delivers is run by `run`; a run that succeeds says so in the database. */
function start(run: (claim: Claim) => Outcome | Promise<Outcome>, prefetch = 1): Worker & { jobIds: string[] } {
  const jobIds: string[] = []
  const worker = work({
    queue: 'jobs',
    prefetch,
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

async function row(id: string) {
  const [job] = await sql`
    select state, attempts, error, lease, extract(epoch from run_at - now())::float8 as "dueInSeconds" from jobs where id = ${id}`
  return job
}

const letters = () => sql`select job_id, error, attempts from dead_letters`

beforeEach(async () => {
  await sql`truncate jobs cascade`
})

afterEach(async () => {
  await Promise.all(started.splice(0).map((worker) => worker.stop()))
})

describe('the queue', () => {
  it('gives every job to one worker once, however many workers there are', async () => {
    const jobs = await Promise.all(Array.from({ length: 60 }, submit))
    const workers = [start(() => acknowledge, 4), start(() => acknowledge, 4), start(() => acknowledge, 4)]
    const delivered = () => workers.flatMap(({ jobIds }) => jobIds)
    await until(() => expect(delivered()).toHaveLength(60))
    expect(delivered().sort()).toEqual(jobs.map(({ id }) => id).sort())
    await until(async () => expect(await sql`select 1 from jobs where state <> 'succeeded'`).toHaveLength(0))
    expect(await sql`select 1 from jobs where attempts <> 1`).toHaveLength(0)
  })

  it('has no more jobs in hand than it may', async () => {
    await Promise.all(Array.from({ length: 12 }, submit))
    let inHand = 0
    let most = 0
    const worker = start(async () => {
      most = Math.max(most, ++inHand)
      await sql`select pg_sleep(0.01)`
      inHand--
      return acknowledge
    }, 3)
    await until(() => expect(worker.jobIds).toHaveLength(12))
    expect(most).toBe(3)
  })

  it('hands over the job’s trace, and an id that no other delivery has', async () => {
    const trace = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', tracestate: 'a=1' }
    const job = await submitJob({ type: 'verify-ledger', payload: {} }, systemCaller('function:test', trace))
    const claims: Claim[] = []
    start((claim) => {
      claims.push(claim)
      return acknowledge
    })
    await until(() => expect(claims).toHaveLength(1))
    expect(claims).toEqual([{ id: expect.stringMatching(/^[0-9a-f-]{36}$/), jobId: job.id, ...trace }])
  })

  it('says so where there is no adapter for the URL, and where there is no such queue', () => {
    overrideEnvironment({ JOBS_URL: 'amqp://127.0.0.1' })
    expect(() => start(() => acknowledge)).toThrow('JOBS_URL: must be postgres:')
    overrideEnvironment({ JOBS_URL: undefined })
    expect(() => work({ queue: 'mail', prefetch: 1, deliver: async () => acknowledge })).toThrow("no queue 'mail'")
  })
})

describe('a job that fails', () => {
  it('is tried again, later each time at most, until it succeeds', async () => {
    const { id } = await submit()
    let failures = 2
    const worker = start(() => (failures-- > 0 ? { verdict: 'retry', error: 'not now' } : acknowledge))
    for (const attempts of [1, 2]) {
      await until(async () => expect(await row(id)).toMatchObject({ state: 'retrying', attempts, error: 'not now' }))
      expect((await row(id))?.dueInSeconds).toBeLessThanOrEqual(2 ** attempts)
      await sql`update jobs set run_at = now()`
    }
    await until(async () => expect(await row(id)).toMatchObject({ state: 'succeeded', attempts: 3 }))
    expect(worker.jobIds).toEqual([id, id, id])
    expect(await letters()).toHaveLength(0)
  })

  it('is not tried before it is due', async () => {
    const early = await submit()
    await sql`update jobs set run_at = now() + interval '1 hour'`
    const due = await submit()
    const worker = start(() => acknowledge)
    await until(() => expect(worker.jobIds).toEqual([due.id]))
    expect(await row(early.id)).toMatchObject({ state: 'queued', attempts: 0 })
  })

  it('is dead after its last attempt, and has a dead letter', async () => {
    const { id } = await submit()
    await sql`update jobs set attempts = 4`
    start(() => ({ verdict: 'retry', error: 'still not' }))
    await until(async () => expect(await row(id)).toMatchObject({ state: 'dead', attempts: 5, error: 'still not' }))
    expect([...(await letters())]).toEqual([{ job_id: id, error: 'still not', attempts: 5 }])
  })

  it('is dead at once when it is rejected', async () => {
    const { id } = await submit()
    const worker = start(() => ({ verdict: 'reject', error: 'validation_failed: nonsense' }))
    await until(async () => expect(await row(id)).toMatchObject({ state: 'dead', attempts: 1 }))
    expect([...(await letters())]).toEqual([{ job_id: id, error: 'validation_failed: nonsense', attempts: 1 }])
    expect(worker.jobIds).toEqual([id])
  })
})

describe('a worker that is killed', () => {
  it('loses its job to another, once its lease is over', async () => {
    const { id } = await submit()
    const [killed] = await claimJobs(1)
    if (!killed) throw new Error('nothing was due')
    const worker = start(() => acknowledge)
    expect(await row(id)).toMatchObject({ state: 'running', attempts: 1, lease: killed.id })
    await sql`update jobs set locked_until = now() - interval '1 second'`
    await until(async () => expect((await row(id))?.state).toBe('retrying'))
    expect((await row(id))?.error).toBe('The process that ran it is gone.')
    await sql`update jobs set run_at = now()`
    await until(async () => expect(await row(id)).toMatchObject({ state: 'succeeded', attempts: 2 }))
    expect(worker.jobIds).toEqual([id])
  })

  it('takes the job with it into the dead letters when that was the last attempt', async () => {
    const { id } = await submit()
    await sql`update jobs set attempts = 4`
    await claimJobs(1)
    await sql`update jobs set locked_until = now() - interval '1 second'`
    const worker = start(() => acknowledge)
    await until(async () => expect(await row(id)).toMatchObject({ state: 'dead', attempts: 5 }))
    expect(await letters()).toHaveLength(1)
    expect(worker.jobIds).toEqual([])
  })

  it('changes nothing when it was only asleep and comes back', async () => {
    const { id } = await submit()
    const [sleeper] = await claimJobs(1)
    if (!sleeper) throw new Error('nothing was due')
    expect(await keepJob(sleeper)).toBe(true)
    await sql`update jobs set state = 'queued', lease = null, locked_until = null`
    const [successor] = await claimJobs(1)
    expect(await keepJob(sleeper)).toBe(false)
    await settleJob(sleeper, { verdict: 'reject', error: 'too late' })
    expect(await row(id)).toMatchObject({ state: 'running', lease: successor?.id, error: null })
  })
})

describe('a worker that is stopped', () => {
  it('finishes the jobs in hand, and takes no other', async () => {
    const [first, second] = [await submit(), await submit()]
    let finish = () => {}
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    const worker = start(() => finished.then(() => acknowledge))
    await until(() => expect(worker.jobIds).toEqual([first.id]))
    const stopping = worker.stop()
    finish()
    await stopping
    expect(await row(first.id)).toMatchObject({ state: 'succeeded' })
    expect(await row(second.id)).toMatchObject({ state: 'queued', attempts: 0 })
  })

  it('hands back what it can’t finish, as if it had not been tried', async () => {
    const { id } = await submit()
    const claims = await claimJobs(1)
    await handBack(claims)
    expect(await row(id)).toMatchObject({ state: 'queued', attempts: 0, lease: null })
    const [again] = await claimJobs(1)
    expect(again?.jobId).toBe(id)
  })
})
