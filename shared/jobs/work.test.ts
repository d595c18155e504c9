import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import { systemContext, transaction } from '#database'
import { closeJobs, submitJob } from '#jobs'
import { sql } from '#testing'
import type { Claim } from './attempts/claim.ts'
import { jobTypes } from './job-types.ts'
import {
  acknowledge,
  adapters,
  deferred,
  emptyJobs,
  letters,
  row,
  start,
  stopAll,
  submit,
  until,
} from './testing/work.ts'
import { work } from './work.ts'

beforeEach(emptyJobs)

afterEach(stopAll)

for (const { where, isThere, start: startAdapter } of adapters) {
  describe.skipIf(!isThere)(`a queue ${where}`, () => {
    let stopAdapter = async () => {}
    beforeAll(async () => {
      stopAdapter = await startAdapter()
    })
    afterAll(() => stopAdapter())

    describe('the queue', () => {
      it('gives every job to one worker once, however many workers there are', async () => {
        const jobs = await Promise.all(Array.from({ length: 60 }, () => submit()))
        const workers = [start(() => acknowledge), start(() => acknowledge), start(() => acknowledge)]
        const delivered = () => workers.flatMap(({ jobIds }) => jobIds)
        await until(() => expect(delivered()).toHaveLength(60))
        expect(delivered().sort()).toEqual(jobs.map(({ id }) => id).sort())
        await until(async () => expect(await sql`select 1 from jobs where state <> 'succeeded'`).toHaveLength(0))
        expect(await sql`select 1 from jobs where attempts <> 1`).toHaveLength(0)
      })

      it('has no more jobs of a type in hand than a process may', async () => {
        for (let count = 0; count < 6; count++) await Promise.all([submit('verify-ledger'), submit('export-stock')])
        const inHand: string[] = []
        const most: Record<string, number> = {}
        const worker = start(async ({ type }) => {
          inHand.push(type)
          most[type] = Math.max(most[type] ?? 0, inHand.filter((each) => each === type).length)
          await sql`select pg_sleep(0.01)`
          inHand.splice(inHand.indexOf(type), 1)
          return acknowledge
        })
        await until(() => expect(worker.jobIds).toHaveLength(12))
        expect(most).toEqual({
          'verify-ledger': jobTypes['verify-ledger'].concurrency,
          'export-stock': jobTypes['export-stock'].concurrency,
        })
      })

      it('lets no type hold up another, however many of one wait for those in hand', async () => {
        const { concurrency } = jobTypes['export-stock']
        await Promise.all(Array.from({ length: 50 }, () => submit('export-stock')))
        const { promise: finished, resolve: finish } = deferred()
        const worker = start(({ type }) =>
          (type === 'export-stock' ? finished : Promise.resolve()).then(() => acknowledge),
        )
        await until(() => expect(worker.jobIds).toHaveLength(concurrency))
        const other = await submit('verify-ledger')
        await until(async () => expect(await row(other.id)).toMatchObject({ state: 'succeeded' }))
        expect(worker.jobIds).toHaveLength(concurrency + 1)
        finish()
        await until(() => expect(worker.jobIds).toHaveLength(51))
      })

      it('lets no type hold up another, however quickly those in front of it are done', async () => {
        for (let count = 0; count < 200; count++) await submit('export-stock')
        const other = await submit('verify-ledger')
        await until(async () => expect(await sql`select 1 from job_dispatches`).toHaveLength(0))
        const worker = start(() => acknowledge)
        await until(() => expect(worker.jobIds).toContain(other.id))
        expect(worker.jobIds.indexOf(other.id)).toBeLessThan(100)
        await until(() => expect(worker.jobIds).toHaveLength(201))
      })

      it('has a job of a type that it does not know die at once, however many of those that it knows wait', async () => {
        const { promise: finished, resolve: finish } = deferred()
        await Promise.all(Array.from({ length: 20 }, () => submit()))
        const unknown = await transaction(systemContext('function:test'), async (tx) => {
          const job = await submitJob({ type: 'export-stock', payload: {} }, systemContext('function:test'), tx)
          await tx`update jobs set type = 'make-coffee' where id = ${job.id}`
          return job
        })
        const worker = start(() => finished.then(() => acknowledge))
        await until(async () => expect(await row(unknown.id)).toMatchObject({ state: 'dead', attempts: 0 }))
        expect(await letters()).toEqual([
          { job_id: unknown.id, error: "validation_failed: type: 'make-coffee' is no type of job", attempts: 0 },
        ])
        expect(worker.jobIds).not.toContain(unknown.id)
        finish()
        await until(async () => expect(await sql`select 1 from jobs where state = 'succeeded'`).toHaveLength(20))
      })

      it('hands over the job’s trace, and an id that no other delivery has', async () => {
        const trace = {
          traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
          tracestate: 'a=1',
          baggage: 'tenant=1',
        }
        const job = await submitJob({ type: 'verify-ledger', payload: {} }, systemContext('function:test', trace))
        const claims: Claim[] = []
        start((claim) => {
          claims.push(claim)
          return acknowledge
        })
        await until(() => expect(claims).toHaveLength(1))
        expect(claims).toEqual([
          {
            id: expect.stringMatching(/^[0-9a-f-]{36}(:[0-9a-f-]{36})?$/),
            jobId: job.id,
            type: job.type,
            attempts: 1,
            ...trace,
          },
        ])
      })
    })

    describe('a job that fails', () => {
      it('is tried again, later each time at most, until it succeeds', async () => {
        const { id } = await submit()
        let failures = 2
        const worker = start(() => (failures-- > 0 ? { verdict: 'retry', error: 'not now' } : acknowledge))
        for (const attempts of [1, 2]) {
          await until(async () =>
            expect(await row(id)).toMatchObject({ state: 'retrying', attempts, error: 'not now' }),
          )
          expect((await row(id))?.dueInSeconds).toBeLessThanOrEqual(2 ** attempts)
          await sql`update jobs set run_at = now()`
        }
        await until(async () => expect(await row(id)).toMatchObject({ state: 'succeeded', attempts: 3 }))
        expect(worker.jobIds).toEqual([id, id, id])
        expect(await letters()).toHaveLength(0)
      })

      it('is not tried before it is due', async () => {
        const early = await submit()
        await sql`update jobs set run_at = now() + interval '9 minutes'`
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
  })
}

it('there is no worker for a URL without an adapter, or for a queue that is not there', async () => {
  await closeJobs()
  overrideEnvironment({ JOBS_URL: 'redis://127.0.0.1' })
  expect(() => start(() => acknowledge)).toThrow('JOBS_URL: must be postgres:')
  overrideEnvironment({ JOBS_URL: undefined })
  expect(() => work({ queue: 'mail', deliver: async () => acknowledge })).toThrow("no queue 'mail'")
})
