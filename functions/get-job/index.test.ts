import { describe, expect, it } from 'vitest'
import { call, functionNamed, newKey, sql } from '#testing'
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

  it.each([
    ['verify-ledger', 'admin', true],
    ['export-stock', 'stock:read', true],
    ['make-coffee', 'admin', true],
    ['import-products', 'jobs:read', false],
  ] as const)(
    'shows the result of a job of the type %s to nobody without the scope %s',
    async (type, scope, isHidden) => {
      const { id } = await submit()
      await sql`update jobs set type = ${type}, state = 'succeeded', result = '{"a": 1}' where id = ${id}`
      const all = ['products:read', 'products:write', 'stock:read', 'stock:write', 'jobs:read', 'jobs:write'] as const
      const without = await call(getJob, {
        params: { jobId: id },
        key: await newKey(...all.filter((other) => other !== scope), 'jobs:read'),
      })
      expect(without).toMatchObject({ status: 200, body: { state: 'succeeded', result: isHidden ? null : { a: 1 } } })
      const allowed = await call(getJob, { params: { jobId: id }, key: await newKey('jobs:read', scope) })
      expect(allowed.body.result).toEqual({ a: 1 })
    },
  )
})
