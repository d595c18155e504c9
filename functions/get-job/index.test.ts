import { describe, expect, it } from 'vitest'
import { call, functionNamed, sql } from '#testing'
import getJob from './index.ts'

const submitJob = await functionNamed('submit-job')
const submit = async () => (await call(submitJob, { body: { type: 'verify-ledger', payload: {} } })).body
const get = (jobId: string) => call(getJob, { params: { jobId } })

describe('get-job', () => {
  it('gives a job as it was submitted', async () => {
    const job = await submit()
    const { status, body } = await get(job.id)
    expect([status, body]).toEqual([200, job])
  })

  it('shows how far it is, its result, and why its last attempt failed', async () => {
    const { id } = await submit()
    await sql`
      update jobs set state = 'retrying', attempts = 2, progress_done = 3, progress_total = 4, error = 'not now' where id = ${id}`
    expect((await get(id)).body).toMatchObject({
      state: 'retrying',
      attempts: 2,
      progress: { done: 3, total: 4 },
      error: 'not now',
    })
    await sql`update jobs set state = 'succeeded', error = null, result = '{"b": [1], "a": "ü"}' where id = ${id}`
    expect((await get(id)).body).toMatchObject({ state: 'succeeded', result: { a: 'ü', b: [1] }, error: null })
  })

  it('finds nothing under an id of nothing', async () => {
    expect(await get(crypto.randomUUID())).toMatchObject({ status: 404, body: { code: 'job_not_found' } })
  })
})
