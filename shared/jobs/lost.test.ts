import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sql } from '#testing'
import { claimJobs, handBack, keepJob, settleJob } from './queue.ts'
import { acknowledge, adapters, deferred, letters, row, start, stopAll, submit, until } from './work-fixture.ts'

beforeEach(async () => {
  await sql`truncate jobs, job_dispatches cascade`
})

afterEach(stopAll)

for (const { where, isThere, start: startAdapter } of adapters) {
  describe.skipIf(!isThere)(`with jobs that wait ${where}`, () => {
    let stopAdapter = async () => {}
    beforeAll(async () => {
      stopAdapter = await startAdapter()
    })
    afterAll(() => stopAdapter())

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
        const { promise: finished, resolve: finish } = deferred()
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
  })
}
