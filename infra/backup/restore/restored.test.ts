import { appendFile, truncate } from 'node:fs/promises'
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
  // The function's result changes after the index is built, just as the order of texts changes with a new C library.
  await sql`create function folded(text) returns text immutable language sql return lower($1)`
  await sql`create table shelves (code text)`
  await sql`create index shelves_folded on shelves (folded(code))`
  await sql`insert into shelves values ('A'), ('b'), ('C')`
  await sql`create or replace function folded(text) returns text immutable language sql return upper($1) || 'x'`
  expect(await check()).toEqual([expect.stringMatching(/^index shelves_folded: /)])
  await sql`drop table shelves`
})

it('a GIN index whose keys are out of order is found', async () => {
  // The index uses our own order of keys, which changes after the index is built.
  await sql`create function shelf_order(text, text) returns int immutable language sql return bttextcmp($1, $2)`
  await sql`create operator class shelf_ops for type text[] using gin as
    operator 1 && (anyarray, anyarray),
    function 1 shelf_order(text, text),
    function 2 ginarrayextract(anyarray, internal, internal),
    function 3 ginqueryarrayextract(anyarray, internal, int2, internal, internal, internal, internal),
    function 4 ginarrayconsistent(internal, int2, anyarray, int4, internal, internal, internal, internal),
    storage text`
  await sql`create table shelves (codes text[])`
  await sql`create index shelves_codes on shelves using gin (codes shelf_ops) with (fastupdate = off)`
  await sql`insert into shelves values ('{A,b,C}')`
  expect(await check()).toEqual([])
  await sql`create or replace function shelf_order(text, text) returns int immutable language sql return bttextcmp($2, $1)`
  expect(await check()).toEqual([expect.stringMatching(/^index shelves_codes: .* has wrong tuple order/)])
  await sql`drop table shelves`
})

it('a value that is kept outside of its row, and is not there, is found', async () => {
  await sql`create table labels (text text)`
  await sql`create table others (text text)`
  await sql`alter table labels alter text set storage external`
  await sql`insert into labels values (repeat('x', 10000))`
  const [{ toast }] = await sql<
    [{ toast: number }]
  >`select reltoastrelid::int as toast from pg_class where oid = 'labels'::regclass`
  await sql`update pg_class set reltoastrelid = (select reltoastrelid from pg_class where oid = 'others'::regclass) where oid = 'labels'::regclass`
  expect(await check()).toEqual([
    expect.stringMatching(/^table labels, block 0: toast value \d+ not found in toast table/),
  ])
  await sql`update pg_class set reltoastrelid = ${toast}::oid where oid = 'labels'::regclass`
  await sql`drop table labels, others`
})

it('a page that is none is found, and keeps nothing else from being checked', async () => {
  await sql`checkpoint`
  const [{ path, bytes }] = await sql<[{ path: string; bytes: number }]>`
    select current_setting('data_directory') || '/' || pg_relation_filepath('stock_levels') as path,
           pg_relation_size('stock_levels')::int as bytes`
  await appendFile(path, Buffer.alloc(8_192, 0x5a))
  expect(await check()).toEqual([
    expect.stringMatching(/^table stock_levels: invalid page in block 1 /),
    expect.stringMatching(/^index stock_levels_pkey: invalid page in block 1 /),
  ])
  await truncate(path, bytes)
})

it('says that a table is missing', async () => {
  await sql`alter table stock_levels rename to levels`
  try {
    expect(await check()).toEqual([
      expect.stringMatching(/^the stock can't be audited: .*"stock_levels" does not exist/),
    ])
  } finally {
    await sql`alter table levels rename to stock_levels`
  }
})
