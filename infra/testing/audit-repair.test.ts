import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { call, functionNamed, hold, inRivalSession, newProduct, sql } from '#testing'

// Runs the steps of docs/runbooks/audit-inconsistent.md on balances that differ from the ledger, and on holds that differ from both.

const page = await readFile(new URL('../../docs/runbooks/audit-inconsistent.md', import.meta.url), 'utf8')
const [, breach = '', byLedger = '', byHolds = ''] = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(
  ([, text]) => text,
)

const audit = async () => (await call(await functionNamed('audit-stock'))).body

/** Runs a code block of the page like psql, which puts a variable in quotes. */
const run = (text: string, productId: string) =>
  inRivalSession((session) =>
    session.unsafe(text.replaceAll(":'product'", `'${productId}'`).replaceAll(":'location'", "'main'")),
  )

async function count(productId: string, counted: number): Promise<void> {
  const body = { counts: [{ productId, location: 'main', counted }] }
  const answer = await call(await functionNamed('count-stock'), { body })
  expect(answer.status).toBe(200)
}

it.each([
  ['a balance that was changed by hand', 'update stock_levels set on_hand = on_hand + 2, reserved = reserved - 1'],
  ['a hold that was removed', "update reservations set state = 'released'"],
  ['a hold that grew', 'update reservation_lines set quantity = quantity + 2'],
  ['both', "update stock_levels set on_hand = on_hand + 5; update reservations set state = 'released'"],
])('%s: a count does not mend it, the steps do', async (_, fault) => {
  const { id } = await newProduct({ initialStock: 10 })
  await hold([{ productId: id, quantity: 3 }])
  const where: Record<string, string> = {
    stock_levels: `product_id = '${id}'`,
    reservation_lines: `product_id = '${id}'`,
    reservations: `id in (select reservation_id from reservation_lines where product_id = '${id}')`,
  }
  for (const statement of fault.split('; ')) {
    const [, table = ''] = /^update (\w+)/.exec(statement) ?? []
    await sql.unsafe(`${statement} where ${where[table]}`)
  }
  expect((await audit()).discrepancies).toMatchObject([{ productId: id }])
  await count(id, 9)
  expect((await audit()).consistent).toBe(false)
  await run(byLedger, id)
  await run(byHolds, id)
  await count(id, 8)
  expect(await audit()).toMatchObject({ consistent: true, discrepancies: [] })
  expect(await sql`select on_hand from stock_levels where product_id = ${id}`).toEqual([{ on_hand: 8 }])
})

it('the first row of the ledger that does not follow is named', async () => {
  const { id } = await newProduct({ initialStock: 10 })
  await count(id, 9)
  expect(await run(breach, id)).toHaveLength(0)
  await sql`update stock_levels set on_hand = 12 where product_id = ${id}`
  await count(id, 11)
  const [row] = await run(breach, id)
  expect(row).toMatchObject({ type: 'count', on_hand_after: 11, on_hand_due: 8 })
  await run(byLedger, id)
})
