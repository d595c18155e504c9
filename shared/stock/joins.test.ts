import { afterEach, expect, it } from 'vitest'
import { systemContext } from '#database'
import { getStock, reserve } from '#stock'
import { type Reservation, ReserveRequest } from '#stock/schema'
import { blocked, expectConsistent, hold, inRivalSession, newProduct, sql, stockAt } from '#testing'

afterEach(expectConsistent)

const context = () => systemContext('function:test')
const reserveLines = (lines: object[], more: object = {}) =>
  reserve(ReserveRequest.parse({ lines, ...more }), context())

/** Reserves one piece of a product that a rival has locked. Once the reservation waits, starts `more`; then the rival releases the lock. */
function whileLocked<Made>(productId: string, more: () => Array<Promise<Made>>): Promise<[Reservation, ...Made[]]> {
  return inRivalSession(async (rival) => {
    await rival`select 1 from stock_levels where product_id = ${productId} for update`
    const first = hold([{ productId, quantity: 1 }])
    await blocked()
    const others = more()
    await rival`commit`
    return Promise.all([first, ...others])
  })
}

/** How many transactions wrote these reservations. */
async function transactionsOf(reservations: ReadonlyArray<{ id: string }>): Promise<number> {
  const ids = reservations.map(({ id }) => id)
  const [row] = await sql<
    [{ count: number }]
  >`select count(distinct xmin::text) as count from reservations where id = any(${ids}::uuid[])`
  return row.count
}

it('those that come while a reservation waits for its product share its transaction', async () => {
  const { id: productId } = await newProduct({ initialStock: 10 })
  await stockAt(productId, 'attic', 5)
  const made = await whileLocked(productId, () => [
    reserveLines([{ productId, quantity: 2 }]),
    reserveLines([
      { productId, quantity: 1 },
      { productId, quantity: 2 },
    ]),
  ])
  expect(await transactionsOf(made)).toBe(1)
  expect(await getStock(productId, context())).toMatchObject({ onHand: 15, reserved: 6 })
})

it('what its locks do not cover comes next: another product, a sku, a location, a shopper’s hold', async () => {
  const { id: productId, sku } = await newProduct({ initialStock: 10 })
  const other = await newProduct({ initialStock: 10 })
  await stockAt(productId, 'attic', 5)
  const cart = { holder: 'shopper', reference: 'cart' }
  const old = await hold([{ productId, quantity: 4 }], cart)
  const [first, ...made] = await whileLocked(productId, () => [
    reserveLines([{ productId: other.id, quantity: 1 }]),
    reserveLines([
      { productId, quantity: 1 },
      { productId: other.id, quantity: 1 },
    ]),
    reserveLines([{ sku, quantity: 1 }]),
    reserveLines([{ productId, quantity: 1, location: 'attic' }]),
    reserveLines([{ productId, quantity: 3 }], cart),
  ])
  expect(await transactionsOf([first, ...made])).toBe(2)
  expect(made[3]?.lines).toMatchObject([{ location: 'attic' }])
  expect(await sql`select state from reservations where id = ${old.id}`).toEqual([{ state: 'released' }])
  expect(await getStock(productId, context())).toMatchObject({ onHand: 15, reserved: 7 })
  expect(await getStock(other.id, context())).toMatchObject({ onHand: 10, reserved: 2 })
})
