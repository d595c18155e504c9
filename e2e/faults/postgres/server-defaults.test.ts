import { afterAll, afterEach, expect, it } from 'vitest'
import { environment } from '#config'
import { closeDatabase, primary, systemContext, transaction } from '#database'
import { call, expectConsistent, functionNamed, newProduct, sql } from '#testing'

// A server, a database or a role may have defaults that differ from PostgreSQL's: nothing here may depend on them.

const name = new URL(environment().DATABASE_URL ?? '').pathname.slice(1)

async function setDefault(setting: string, value: string): Promise<void> {
  // Uses a connection that may write, whatever the default was before.
  await sql.unsafe(`alter database ${name} set ${setting} = '${value}'`)
  await closeDatabase()
}

afterEach(async () => {
  await sql.unsafe(`alter database ${name} reset all`)
  await closeDatabase()
})
afterAll(closeDatabase)

it.each([
  ['default_transaction_isolation', 'repeatable read'],
  ['default_transaction_isolation', 'serializable'],
  ['default_transaction_read_only', 'on'],
  ['default_transaction_deferrable', 'on'],
  ['DateStyle', 'SQL, DMY'],
  ['IntervalStyle', 'sql_standard'],
  ['TimeZone', 'Asia/Kathmandu'],
  ['bytea_output', 'escape'],
  ['extra_float_digits', '-15'],
  ['standard_conforming_strings', 'off'],
  ['array_nulls', 'off'],
  ['transform_null_equals', 'on'],
  ['row_security', 'off'],
  ['client_encoding', 'LATIN1'],
  ['lc_messages', 'C'],
  ['statement_timeout', '1'],
  ['lock_timeout', '1'],
])('serves where %s is %s by default', async (setting, value) => {
  await setDefault(setting, value)
  const product = await newProduct({ name: 'Größe "XL" \\ 中', initialStock: 100 })
  const [get, reserve, adjust, list] = await Promise.all(
    ['get-product', 'reserve-stock', 'adjust-stock', 'list-movements'].map(functionNamed),
  )
  if (!get || !reserve || !adjust || !list) throw new Error('a function is missing')
  const params = { productId: product.id }
  const writes = await Promise.all(
    Array.from({ length: 20 }, (_, index) => [
      call(reserve, {
        body: { lines: [{ productId: product.id, quantity: 1 }] },
        headers: { 'idempotency-key': `${setting} ${value} ${index}` },
      }),
      call(adjust, { params, body: { quantity: 1, reason: 'received' } }),
    ]).flat(),
  )
  expect(writes.map(({ status }) => status)).toEqual(writes.map(() => 201))
  const { body } = await call(get, { params })
  expect(body).toMatchObject({ name: 'Größe "XL" \\ 中', createdAt: product.createdAt })
  expect(Math.abs(Date.parse(body.createdAt) - Date.now())).toBeLessThan(60_000)
  expect((await call(list, { params })).status).toBe(200)
  await expectConsistent()
})

it('a transaction says itself what it needs', async () => {
  const told = await transaction(systemContext('function:test'), async (tx) => {
    // A role or a pooler may change these settings of the session.
    const [row] =
      await tx`select current_setting('transaction_isolation') as isolation, current_setting('transaction_read_only') as only`
    return row
  })
  expect(told).toEqual({ isolation: 'read committed', only: 'off' })
  expect(await primary()`select current_setting('transaction_isolation') as isolation`).toEqual([
    { isolation: 'read committed' },
  ])
})
