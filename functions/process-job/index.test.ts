import { beforeEach, describe, expect, it } from 'vitest'
import { eventRequest } from '#function'
import { jobTypes } from '#jobs/types'
import { call, expire, functionNamed, hold, newProduct, sql, stockAt } from '#testing'
import processJob from './index.ts'

const submit = await functionNamed('submit-job')
const getJob = await functionNamed('get-job')

async function queue(type: string, payload: object = {}): Promise<string> {
  return (await call(submit, { body: { type, payload } })).body.id
}

async function deliver(jobId: string, status = 200) {
  const attributes = { id: crypto.randomUUID(), source: 'test', specversion: '1.0', type: 'job.due' } as const
  const response = await processJob.app.fetch(eventRequest(attributes, { jobId }))
  expect(response.status).toBe(status)
  return response.json()
}

/** The job after it has been run. */
async function run(type: string, payload: object = {}) {
  const jobId = await queue(type, payload)
  expect(await deliver(jobId)).toEqual({ jobId, ran: true })
  return (await call(getJob, { params: { jobId } })).body
}

beforeEach(async () => {
  await sql`truncate jobs, products cascade`
})

describe('verify-ledger', () => {
  it('finds the books in order after every kind of change, for every product', async () => {
    const [one, two] = [await newProduct({ initialStock: 10 }), await newProduct({ initialStock: 10 })]
    await stockAt(one.id, 'second', 5)
    const { id } = await hold([
      { productId: one.id, quantity: 2 },
      { productId: two.id, quantity: 3 },
    ])
    await hold([{ productId: one.id, quantity: 5, location: 'second' }])
    await expire(id)
    await hold([{ productId: one.id, quantity: 1 }])
    const job = await run('verify-ledger')
    expect(job).toMatchObject({
      state: 'succeeded',
      attempts: 1,
      progress: { done: 2, total: 2 },
      result: { consistent: true, checkedProducts: 2, discrepancies: [] },
    })
  })

  it('names each balance that differs from its ledger or its holds', async () => {
    const ids: string[] = []
    for (let made = 0; made < 4; made++) ids.push((await newProduct({ initialStock: 10 })).id)
    const [counted = '', reserved = '', held = ''] = ids
    const balance = { location: 'main', onHand: 10, reserved: 0, ledgerOnHand: 10, ledgerReserved: 0, heldReserved: 0 }
    await sql`update stock_levels set on_hand = 11 where product_id = ${counted}`
    await hold([{ productId: reserved, quantity: 4 }])
    await sql`update stock_levels set reserved = 3 where product_id = ${reserved}`
    const { id } = await hold([{ productId: held, quantity: 2 }])
    await sql`update reservations set state = 'released' where id = ${id}`
    expect((await run('verify-ledger')).result).toEqual({
      consistent: false,
      checkedProducts: 4,
      discrepancies: [
        { ...balance, productId: counted, onHand: 11 },
        { ...balance, productId: reserved, reserved: 3, ledgerReserved: 4, heldReserved: 4 },
        { ...balance, productId: held, reserved: 2, ledgerReserved: 2 },
      ],
    })
  })

  it('checks thousands of products, and lists a hundred discrepancies at most', async () => {
    await sql`
      with product as (
        insert into products (id, sku, name) select gen_random_uuid(), 'BULK-' || number, 'x' from generate_series(1, 2500) as number
        returning id
      )
      insert into stock_levels (product_id, location, on_hand) select id, 'main', 1 from product`
    const { result, progress } = await run('verify-ledger')
    expect(result).toMatchObject({ consistent: false, checkedProducts: 2_500 })
    expect(result.discrepancies).toHaveLength(100)
    expect(progress).toEqual({ done: 2_500, total: 2_500 })
  })
})

describe('export-stock', () => {
  const rows = async (jobId: string) =>
    (await sql`select rows from job_results where job_id = ${jobId} order by number`).flatMap((chunk) => chunk.rows)

  it('exports every product of the catalogue, with the sums over its locations', async () => {
    const [one, two, gone] = [
      await newProduct({ initialStock: 10 }),
      await newProduct(),
      await newProduct({ initialStock: 1 }),
    ]
    await stockAt(one.id, 'second', 5)
    await hold([{ productId: one.id, quantity: 4 }])
    const overdue = await hold([{ productId: one.id, quantity: 1 }])
    await expire(overdue.id)
    await sql`update products set deleted_at = now() where id = ${gone.id}`
    const job = await run('export-stock', { format: 'ndjson' })
    expect(job.result).toEqual({
      format: 'ndjson',
      columns: ['productId', 'sku', 'onHand', 'reserved', 'available'],
      rows: 2,
    })
    expect(await rows(job.id)).toEqual([
      { productId: one.id, sku: one.sku, onHand: 15, reserved: 4, available: 11 },
      { productId: two.id, sku: two.sku, onHand: 0, reserved: 0, available: 0 },
    ])
  })

  it('succeeds where there is nothing to export', async () => {
    expect(await run('export-stock')).toMatchObject({ state: 'succeeded', result: { rows: 0 } })
  })
})

describe('process-job', () => {
  it('does not run a job again that has succeeded', async () => {
    const jobId = await queue('verify-ledger')
    await deliver(jobId)
    const before = (await call(getJob, { params: { jobId } })).body
    expect(await deliver(jobId)).toEqual({ jobId, ran: false })
    expect((await call(getJob, { params: { jobId } })).body).toEqual(before)
  })

  it('refuses for good what it can never run', async () => {
    expect(await deliver(crypto.randomUUID(), 404)).toMatchObject({ code: 'job_not_found' })
    const jobId = await queue('verify-ledger')
    await sql`update jobs set type = 'make-coffee' where id = ${jobId}`
    expect(await deliver(jobId, 422)).toMatchObject({ errors: [{ path: 'type' }] })
  })

  it.each(Object.entries(jobTypes))('gives up on a %s later than the job’s own time-out does', (_, { timeoutMs }) => {
    expect(processJob.limits.timeoutMs).toBeGreaterThan(timeoutMs)
  })
})
