import { expect, it } from 'vitest'
import { environment } from '#config'
import { newProduct, sql } from '#testing'
import { checkRestored } from './restored.ts'

const check = () => checkRestored(environment().DATABASE_URL ?? '', () => {})

it('a sound database has nothing wrong', async () => {
  expect(await check()).toEqual(['there is no product: is this the right database?'])
  await newProduct({ initialStock: 3 })
  expect(await check()).toEqual([])
})

it('a balance that is not the sum of its ledger is found', async () => {
  const { id } = await newProduct({ initialStock: 3 })
  await sql`update stock_levels set on_hand = 4 where product_id = ${id}`
  expect(await check()).toEqual([expect.stringContaining(`the stock of product ${id} at main`)])
  await sql`update stock_levels set on_hand = 3 where product_id = ${id}`
})

it('an index that does not have its rows where it says is found', async () => {
  // What the function says changes under the index, as the order of texts does under a new C library.
  await sql`create function folded(text) returns text immutable language sql return lower($1)`
  await sql`create table shelves (code text)`
  await sql`create index shelves_folded on shelves (folded(code))`
  await sql`insert into shelves values ('A'), ('b'), ('C')`
  await sql`create or replace function folded(text) returns text immutable language sql return upper($1) || 'x'`
  expect(await check()).toEqual([expect.stringMatching(/^index shelves_folded: /)])
  await sql`drop table shelves`
})
