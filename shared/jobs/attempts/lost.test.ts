import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sql } from '#testing'
import { jobTypes } from '../job-types.ts'
import {
  acknowledge,
  adapters,
  claimOne,
  deferred,
  emptyJobs,
  letters,
  row,
  start,
  stopAll,
  submit,
  until,
} from '../testing/work.ts'
import { renewLease } from './claim.ts'
import { handBack, recordFailure } from './end-attempt.ts'

beforeEach(emptyJobs)

afterEach(stopAll)

for (const { where, isThere, start: startAdapter } of adapters) {
  describe.skipIf(!isThere)(`with jobs that wait ${where}`, () => {
    let stopAdapter = async () => {}
    beforeAll(async () => {
      stopAdapter = await startAdapter()
    })
    afterAll(() => stopAdapter())

    it('no job waits for longer than the longest wait, though the clock was ahead when that was written', async () => {
      const [ahead, waiting] = [await submit(), await submit()]
      await sql`update jobs set state = 'retrying', attempts = 1, run_at = now() + interval '1 hour' where id = ${ahead.id}`
      await sql`update jobs set state = 'retrying', attempts = 9, run_at = now() + interval '9 minutes' where id = ${waiting.id}`
      await sql`truncate job_dispatches`
      const worker = start(() => acknowledge)
      await until(async () => expect(await row(ahead.id)).toMatchObject({ state: 'succeeded' }))
      expect(worker.jobIds).toEqual([ahead.id])
      expect(await row(waiting.id)).toMatchObject({ state: 'retrying' })
    })

    describe('a worker that is killed', () => {
      it('loses its job to another, once its lease is over', async () => {
        const { id } = await submit()
        const killed = await claimOne()
        const worker = start(() => acknowledge)
        expect(await row(id)).toMatchObject({ state: 'running', attempts: 1, lease: killed.id })
        await sql`update jobs set locked_until = now() - interval '1 second'`
        await until(async () => expect((await row(id))?.state).toBe('retrying'))
        expect((await row(id))?.error).toBe('The process that ran it is gone.')
        await sql`update jobs set run_at = now()`
        await until(async () => expect(await row(id)).toMatchObject({ state: 'succeeded', attempts: 2 }))
        expect(worker.jobIds).toEqual([id])
      })

      it('holds no job for longer than a lease lasts from now, though the clock was ahead when it took it', async () => {
        const { id } = await submit()
        await claimOne()
        await sql`update jobs set locked_until = now() + interval '1 hour'`
        start(() => acknowledge)
        const left = async () =>
          (await sql`select extract(epoch from locked_until - now())::float8 as seconds from jobs where id = ${id}`)[0]
            ?.seconds
        await until(async () => expect(await left()).toBeLessThanOrEqual(30))
        expect(await left()).toBeGreaterThan(20)
        expect(await row(id)).toMatchObject({ state: 'running', attempts: 1 })
      })

      it('takes the job with it into the dead letters when that was the last attempt', async () => {
        const { id } = await submit()
        await sql`update jobs set attempts = 4`
        await claimOne()
        await sql`update jobs set locked_until = now() - interval '1 second'`
        const worker = start(() => acknowledge)
        await until(async () => expect(await row(id)).toMatchObject({ state: 'dead', attempts: 5 }))
        expect(await letters()).toHaveLength(1)
        expect(worker.jobIds).toEqual([])
      })

      it('changes nothing when it was only asleep and comes back', async () => {
        const { id } = await submit()
        const sleeper = await claimOne()
        expect(await renewLease(sleeper)).toBe(true)
        await sql`update jobs set state = 'queued', lease = null, locked_until = null`
        const successor = await claimOne()
        expect(await renewLease(sleeper)).toBe(false)
        await recordFailure(sleeper, { verdict: 'reject', error: 'too late' })
        expect(await row(id)).toMatchObject({ state: 'running', lease: successor.id, error: null })
      })
    })

    describe('a worker that is stopped', () => {
      it('finishes the jobs in hand, and takes no other', async () => {
        const jobs = [await submit(), await submit(), await submit()]
        const inHand = jobs.slice(0, jobTypes['verify-ledger'].concurrency).map(({ id }) => id)
        const { promise: finished, resolve: finish } = deferred()
        const worker = start(() => finished.then(() => acknowledge))
        await until(() => expect([...worker.jobIds].sort()).toEqual(inHand))
        const stopping = worker.stop()
        finish()
        await stopping
        for (const id of inHand) expect(await row(id)).toMatchObject({ state: 'succeeded' })
        expect(await row(jobs.at(-1)?.id ?? '')).toMatchObject({ state: 'queued', attempts: 0 })
      })

      it('hands back what it can’t finish, as if it had not been tried', async () => {
        const { id } = await submit()
        await handBack([await claimOne()])
        expect(await row(id)).toMatchObject({ state: 'queued', attempts: 0, lease: null })
        expect((await claimOne()).jobId).toBe(id)
      })
    })
  })
}
