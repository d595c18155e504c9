import { describe, expect, it } from 'vitest'
import { call, expectNoEffect, functionNamed, newKey, runQueued, sql } from '#testing'
import importProducts from './index.ts'

const getJob = await functionNamed('get-job')
const getJobResult = await functionNamed('get-job-result')
const CSV = { 'content-type': 'text/csv' }
const NDJSON = { 'content-type': 'application/x-ndjson' }
const contentOf = async (jobId: string) => {
  const blocks = await sql<
    Array<{ bytes: Buffer }>
  >`select bytes from job_inputs where job_id = ${jobId} order by number`
  return Buffer.concat(blocks.map(({ bytes }) => bytes))
}

describe('import-products', () => {
  it('queues a job for the file, which then tells what became of each row', async () => {
    const { status, body, headers } = await call(importProducts, {
      body: 'sku,name,initialStock\r\nIMPORT-1,One,3\r\nIMPORT-2,,\r\n',
      headers: CSV,
    })
    expect(status).toBe(202)
    expect(headers.get('location')).toBe(`/v1/jobs/${body.id}`)
    expect(headers.get('consistency-token')).toMatch(/^[0-9A-F]+-/)
    const progress = { done: 0, total: 0 }
    expect(body).toMatchObject({ type: 'import-products', state: 'queued', attempts: 0, progress, result: null })
    await runQueued(body.id)
    const result = {
      total: 2,
      created: 1,
      updated: 0,
      failed: 1,
      errors: [{ line: 3, code: 'validation_failed', message: 'name: is missing' }],
    }
    const params = { jobId: body.id }
    expect((await call(getJob, { params })).body).toMatchObject({
      state: 'succeeded',
      progress: { done: 2, total: 2 },
      result,
    })
    expect((await call(getJobResult, { params })).body).toEqual(result)
  })

  it.each([
    ['shopify', 'Handle,Title,Variant SKU,Variant Price,Variant Inventory Qty,Tags\ncup,Cup,SHOPIFY-1,1500,3,a'],
    ['woocommerce', 'ID,SKU,Name,Regular price,Stock\n1,WOO-1,Cup,1500,3'],
  ])('reads an export of %s, and tells how many of its columns say nothing', async (format, file) => {
    const query = { format, currency: 'JPY' }
    const stock = file.includes('Variant') ? 'Variant Inventory Qty' : 'Stock'
    const importedBy = async (key: string | undefined) => {
      const { status, body } = await call(importProducts, { body: file, headers: CSV, query, ...(key && { key }) })
      expect(status).toBe(202)
      await runQueued(body.id)
      return (await call(getJob, { params: { jobId: body.id } })).body.result
    }
    expect(await importedBy(await newKey('products:write'))).toEqual({
      total: 1,
      created: 0,
      updated: 0,
      failed: 1,
      errors: [
        {
          line: 2,
          code: 'forbidden',
          message: `${stock} above 0 needs the scope stock:write, which this API key lacks.`,
        },
      ],
      ignoredColumns: 1,
    })
    expect(await importedBy(undefined)).toEqual({
      total: 1,
      created: 1,
      updated: 0,
      failed: 0,
      errors: [],
      ignoredColumns: 1,
    })
    const [product] =
      await sql`select price_amount as amount, price_currency as currency from products where name = 'Cup' order by id desc`
    expect(product).toEqual({ amount: 1500, currency: 'JPY' })
  })

  it.each([
    ['a shop without a currency', { format: 'shopify' }, 'currency'],
    ['a currency without a shop', { currency: 'EUR' }, 'currency'],
    ['a currency that there is not', { format: 'shopify', currency: 'EUX' }, 'currency'],
    ['a currency in small letters', { format: 'shopify', currency: 'eur' }, 'currency'],
    ['an unknown shop', { format: 'magento', currency: 'EUR' }, 'format'],
    ['what nobody knows', { delimiter: ';' }, 'delimiter'],
  ])('refuses %s', async (_, query, path) => {
    const answer = await expectNoEffect(() => call(importProducts, { body: 'SKU,Name', headers: CSV, query }))
    expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed', errors: [{ path }] } })
  })

  it('refuses a shop’s export that is no CSV', async () => {
    const query = { format: 'shopify', currency: 'EUR' }
    const answer = await expectNoEffect(() => call(importProducts, { body: '{}', headers: NDJSON, query }))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: 'format' }] } })
  })

  it.each([
    ['text/csv', 'csv'],
    ['Text/CSV; charset="UTF-8"; header=present', 'csv'],
    ['application/x-ndjson', 'ndjson'],
    ['application/x-ndjson;charset=utf-8', 'ndjson'],
  ])('takes %s for %s', async (contentType, format) => {
    const { status, body } = await call(importProducts, { body: '', headers: { 'content-type': contentType } })
    expect(status).toBe(202)
    expect(await sql`select payload from jobs where id = ${body.id}`).toEqual([{ payload: { format } }])
  })

  it('keeps the file byte for byte, apart from the job, whatever it holds', async () => {
    const file = Buffer.from(Array.from({ length: 600_000 }, (_, index) => (index * 7) % 256))
    const { status, body } = await call(importProducts, { body: file, headers: NDJSON })
    expect(status).toBe(202)
    expect((await contentOf(body.id)).equals(file)).toBe(true)
    expect(await sql`select payload from jobs where id = ${body.id}`).toEqual([{ payload: { format: 'ndjson' } }])
  })

  it('takes 32 MiB, whatever pieces they come in, and not a byte more', async () => {
    const piece = Buffer.alloc(64 * 1024 + 1, ' ')
    const send = async (bytes: number) => {
      let left = bytes
      const body = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (left > 0) controller.enqueue(piece.subarray(0, left))
          else controller.close()
          left -= piece.length
        },
      })
      const headers = { authorization: 'Bearer test-admin-key', ...NDJSON }
      const url = 'http://localhost/v1/products/imports'
      return importProducts.app.fetch(new Request(url, { method: 'POST', headers, body, duplex: 'half' }))
    }
    const fits = await send(32 * 1024 * 1024)
    expect(fits.status).toBe(202)
    const { id } = (await fits.json()) as { id: string }
    const [kept] =
      await sql`select sum(length(bytes))::int as bytes, count(*)::int as blocks from job_inputs where job_id = ${id}`
    // Blocks of 256 KiB each, except for the first, which is small.
    expect(kept).toEqual({ bytes: 32 * 1024 * 1024, blocks: 129 })
    await sql`delete from job_inputs`
    const tooLarge = await expectNoEffect(() => send(32 * 1024 * 1024 + 1))
    expect([tooLarge.status, await tooLarge.json()]).toMatchObject([413, { code: 'too_large' }])
  })

  it.each(['application/json', 'text/plain', 'text/csv; charset=iso-8859-1', ''])('refuses %j', async (contentType) => {
    const request = { body: '{}', headers: { 'content-type': contentType } }
    const answer = await expectNoEffect(() => call(importProducts, request))
    expect(answer).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } })
  })

  it('refuses a request without a body', async () => {
    expect(await expectNoEffect(() => call(importProducts))).toMatchObject({ status: 415 })
  })

  it('takes the same file of the same type under an idempotency key for the same request, and any other for another', async () => {
    const request = { body: 'sku,name\nA,B', headers: { ...CSV, 'idempotency-key': 'once' } }
    const first = await call(importProducts, request)
    const again = await expectNoEffect(() => call(importProducts, request))
    expect([again.status, again.body, again.headers.get('location')]).toEqual([
      202,
      first.body,
      first.headers.get('location'),
    ])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    for (const other of [
      { ...request, body: 'sku,name\nA,B\n' },
      { ...request, headers: { ...request.headers, ...NDJSON } },
      { ...request, query: { format: 'shopify', currency: 'EUR' } },
    ]) {
      const answer = await expectNoEffect(() => call(importProducts, other))
      expect(answer).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
    }
  })
})
