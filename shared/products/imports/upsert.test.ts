import { expect, it } from 'vitest'
import { systemContext } from '#database'
import { getJob, redriveDeadLetters } from '#jobs'
import { call, functionNamed, newKey, runQueued, sql } from '#testing'

const importProducts = await functionNamed('import-products')
const context = () => systemContext('function:test')

async function upload(key: string, skus: string[]): Promise<string> {
  const rows = skus.map((sku) => JSON.stringify({ sku, name: 'Mug', initialStock: sku.endsWith('0') ? 0 : 7 }))
  const headers = { 'content-type': 'application/x-ndjson' }
  return (await call(importProducts, { key, body: rows.join('\n'), headers })).body.id
}

const stocked = async () =>
  (
    await sql<Array<{ sku: string; onHand: number }>>`
      select sku, on_hand as "onHand" from products join stock_levels on product_id = id order by sku`
  ).map(({ sku, onHand }) => `${sku} ${onHand}`)

it('an import receives stock for nobody without the scope for that: each such row is refused, and no other', async () => {
  const id = await upload(await newKey('products:write'), ['A0', 'B7', 'C0'])
  await runQueued(id)
  const { result } = await getJob(id, context())
  expect(result).toMatchObject({
    created: 2,
    failed: 1,
    errors: [{ line: 2, code: 'forbidden', message: expect.stringContaining('stock:write') }],
  })
  expect(await stocked()).toEqual(['A0 0', 'C0 0'])
})

it('a dead import that an admin redrives may do no more than whoever had submitted it', async () => {
  const id = await upload(await newKey('products:write'), ['D7'])
  await sql`update jobs set state = 'dead' where id = ${id}`
  await sql`insert into dead_letters (id, job_id, error, attempts) values (gen_random_uuid(), ${id}, 'x', 1)`
  expect(await redriveDeadLetters({}, context())).toBe(1)
  await runQueued(id)
  expect((await getJob(id, context())).result).toMatchObject({ created: 0, failed: 1 })
})

it('with the scope it does receive stock', async () => {
  const id = await upload(await newKey('products:write', 'stock:write'), ['E7'])
  await runQueued(id)
  expect((await getJob(id, context())).result).toMatchObject({ created: 1, failed: 0 })
  expect(await stocked()).toContain('E7 7')
})
