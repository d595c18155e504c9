import { beforeAll, describe, expect, it } from 'vitest'
import { eventRequest } from '#function'
import { ADMIN_KEY, call, functionNamed, newKey, newProduct, sql } from '#testing'
import getJobResult from './index.ts'

const submitJob = await functionNamed('submit-job')
const processJob = await functionNamed('process-job')

async function submit(body: object): Promise<string> {
  return (await call(submitJob, { body })).body.id
}

async function finished(body: object): Promise<string> {
  const jobId = await submit(body)
  const attributes = { id: crypto.randomUUID(), source: 'test', specversion: '1.0', type: 'job.due' } as const
  expect((await processJob.app.fetch(eventRequest(attributes, { jobId }))).status).toBe(200)
  return jobId
}

/** The raw answer: it need not be JSON. */
async function get(jobId: string, accept?: string) {
  const headers = { authorization: `Bearer ${ADMIN_KEY}`, ...(accept && { accept }) }
  const response = await getJobResult.app.fetch(new Request(`http://localhost/v1/jobs/${jobId}/result`, { headers }))
  return { response, type: response.headers.get('content-type'), text: await response.text() }
}

const CSV = 'text/csv; charset=utf-8'
const NDJSON = 'application/x-ndjson; charset=utf-8'

beforeAll(async () => {
  // More rows than two chunks have.
  for (let made = 0; made < 5; made++) await newProduct({ initialStock: made })
  await sql`
    with product as (
      insert into products (id, sku, name) select gen_random_uuid(), 'BULK-' || number, 'x' from generate_series(1, 2000) as number
      returning id
    )
    insert into stock_levels (product_id, location) select id, 'main' from product`
})

describe('get-job-result', () => {
  it('gives an export as the job asked for it, complete, as a file', async () => {
    const jobId = await finished({ type: 'export-stock', payload: {} })
    const { response, type, text } = await get(jobId)
    expect([response.status, type]).toEqual([200, CSV])
    expect(response.headers.get('content-disposition')).toBe(`attachment; filename="${jobId}.csv"`)
    expect(response.headers.get('vary')).toBe('accept')
    const lines = text.split('\r\n')
    expect(lines[0]).toBe('productId,sku,onHand,reserved,available')
    expect(lines.at(-1)).toBe('')
    expect(lines.filter((line) => line.includes('BULK-'))).toHaveLength(2_000)
    expect(lines).toHaveLength(2_005 + 2)
    const products = await sql`select id from products order by id`
    expect(lines.slice(1, -1).map((line) => line.slice(0, 36))).toEqual(products.map(({ id }) => id))
  })

  it('gives it in the format that Accept names, whatever the job asked for', async () => {
    const jobId = await finished({ type: 'export-stock', payload: { format: 'ndjson' } })
    const { type, text } = await get(jobId)
    expect(type).toBe(NDJSON)
    const rows = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(rows).toHaveLength(2_005)
    expect(rows.find(({ onHand }) => onHand === 4)).toEqual({
      productId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      sku: expect.stringMatching(/^SKU-/),
      onHand: 4,
      reserved: 0,
      available: 4,
    })
    for (const [accept, expected] of [
      ['text/csv', CSV],
      ['Text/CSV; charset=utf-8', CSV],
      ['application/x-ndjson;q=0.5, text/csv;q=0.9', CSV],
      ['text/csv;q=0, application/x-ndjson', NDJSON],
      ['*/*', NDJSON],
      ['application/json', NDJSON],
      [',;=,', NDJSON],
    ] as const) {
      expect([accept, (await get(jobId, accept)).type]).toEqual([accept, expected])
    }
  })

  it('gives the header line alone where there is nothing to export', async () => {
    const jobId = await finished({ type: 'export-stock', payload: {} })
    await sql`delete from job_results where job_id = ${jobId}`
    expect((await get(jobId)).text).toBe('productId,sku,onHand,reserved,available\r\n')
    expect((await get(jobId, 'application/x-ndjson')).text).toBe('')
  })

  it('gives any other result as JSON', async () => {
    const jobId = await finished({ type: 'verify-ledger', payload: {} })
    const { status, body } = await call(getJobResult, { params: { jobId }, headers: { accept: 'text/csv' } })
    expect([status, body]).toEqual([200, { consistent: true, checkedProducts: 2_005, discrepancies: [] }])
  })

  it.each([
    ['verify-ledger', 'admin', 'stock:read'],
    ['export-stock', 'stock:read', 'stock:write'],
  ] as const)('gives the result of a job of the type %s to nobody without the scope %s', async (type, scope, other) => {
    const jobId = await finished({ type, payload: {} })
    const refused = await call(getJobResult, { params: { jobId }, key: await newKey('jobs:read', other) })
    expect(refused).toMatchObject({ status: 403, body: { code: 'forbidden', detail: expect.stringContaining(scope) } })
    // The key does not learn either that there is no result.
    await sql`update jobs set state = 'dead' where id = ${jobId}`
    expect((await call(getJobResult, { params: { jobId }, key: await newKey('jobs:read', other) })).status).toBe(403)
    await sql`update jobs set state = 'succeeded' where id = ${jobId}`
    const headers = { authorization: `Bearer ${await newKey('jobs:read', scope)}` }
    const response = await getJobResult.app.fetch(new Request(`http://localhost/v1/jobs/${jobId}/result`, { headers }))
    expect(response.status).toBe(200)
  })

  it('finds no export a day after it was made', async () => {
    const jobId = await finished({ type: 'export-stock', payload: {} })
    await sql`update jobs set updated_at = now() - interval '25 hours' where id = ${jobId}`
    expect(await call(getJobResult, { params: { jobId } })).toMatchObject({ status: 404 })
  })

  it('finds nothing as long as there is no result, and no longer after 30 days', async () => {
    const jobId = await submit({ type: 'export-stock', payload: {} })
    const notFound = { status: 404, body: { code: 'job_not_found' } }
    for (const state of ['queued', 'retrying', 'dead']) {
      await sql`update jobs set state = ${state} where id = ${jobId}`
      expect(await call(getJobResult, { params: { jobId } })).toMatchObject(notFound)
    }
    expect(await call(getJobResult, { params: { jobId: crypto.randomUUID() } })).toMatchObject(notFound)
    const done = await finished({ type: 'verify-ledger', payload: {} })
    await sql`update jobs set updated_at = now() - interval '31 days' where id = ${done}`
    expect(await call(getJobResult, { params: { jobId: done } })).toMatchObject(notFound)
  })
})
