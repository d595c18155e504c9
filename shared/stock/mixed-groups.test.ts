import { afterEach, describe, expect, it } from 'vitest'
import { type RequestContext, systemContext } from '#database'
import { adjustStock, adjustStocks, confirm, extend, getStock, release, reserve } from '#stock'
import { ReserveRequest } from '#stock/schema'
import { blocked, expectConsistent, hold, inRivalSession, newProduct, sql, statementsOf } from '#testing'

afterEach(expectConsistent)

const context = () => systemContext('function:test')
const reserveLines = (lines: object[], more: object = {}) =>
  reserve(ReserveRequest.parse({ lines, ...more }), context())

type Code = string

async function codeOf(work: Promise<unknown>): Promise<Code> {
  return work.then(
    () => 'done',
    (error) => error.code,
  )
}

/**
 * Makes changes that wait for one transaction: a change of another product is before them in the queue, and waits for a lock. `during` is called
 * with the work that happens from then on.
 */
async function together(
  changes: () => Array<Promise<unknown>>,
  during = (work: () => Promise<void>): Promise<unknown> => work(),
): Promise<Code[]> {
  const { id: productId } = await newProduct({ initialStock: 1 })
  return inRivalSession(async (rival) => {
    await rival`select 1 from stock_levels where product_id = ${productId} for update`
    const first = adjustStock(productId, { quantity: 1, reason: 'received' }, context())
    await blocked()
    let codes: Code[] = []
    await during(async () => {
      const made = changes().map(codeOf)
      await rival`commit`
      await first
      codes = await Promise.all(made)
    })
    return codes
  })
}

/** How many transactions wrote the product's movements after the first `skipped`. */
async function transactionsOf(productId: string, skipped: number): Promise<number> {
  const rows = await sql<Array<{ xmin: string }>>`
    select xmin::text from stock_movements where product_id = ${productId} order by sequence offset ${skipped}`
  return new Set(rows.map(({ xmin }) => xmin)).size
}

const stateOf = async (id: string) => (await sql`select state from reservations where id = ${id}`)[0]?.state

describe('changes of all kinds that share a transaction', () => {
  it('are decided in the order of their arrival, and each sees what those before it did', async () => {
    const { id: productId } = await newProduct({ initialStock: 5 })
    const [a, b, c] = [
      await hold([{ productId, quantity: 3 }]),
      await hold([{ productId, quantity: 1 }]),
      await hold([{ productId, quantity: 1 }]),
    ]
    const before = 1 + 3
    const codes = await together(() => [
      reserveLines([{ productId, quantity: 1 }]),
      release(a.id, context()),
      reserveLines([{ productId, quantity: 2 }]),
      adjustStock(productId, { quantity: -1, reason: 'lost', expectedOnHand: 5 }, context()),
      reserveLines([{ productId, quantity: 1 }]),
      confirm(b.id, {}, context()),
      adjustStock(productId, { quantity: 1, reason: 'received', expectedOnHand: 4 }, context()),
      adjustStock(productId, { quantity: 1, reason: 'received', expectedOnHand: 3 }, context()),
      reserveLines([{ productId, quantity: 1 }]),
      extend(c.id, { ttlSeconds: 600 }, context()),
    ])
    expect(codes).toEqual([
      'insufficient_stock',
      'done',
      'done',
      'done',
      'insufficient_stock',
      'done',
      'stale_quantity',
      'done',
      'done',
      'done',
    ])
    expect(await transactionsOf(productId, before)).toBe(1)
    expect(await getStock(productId, context())).toMatchObject({ onHand: 4, reserved: 4, available: 0 })
    const [extended] = await sql`select expires_at from reservations where id = ${c.id}`
    const [line] = await sql`select held_until from reservation_lines where reservation_id = ${c.id}`
    expect(extended?.expires_at).toEqual(line?.held_until)
    expect(extended?.expires_at.getTime()).toBeLessThan(Date.parse(c.expiresAt))
  })

  it('may end a hold that another replaces: whichever comes first', async () => {
    const { id: productId } = await newProduct({ initialStock: 10 })
    const cart = { holder: 'shopper', reference: 'cart' }
    const first = await hold([{ productId, quantity: 4 }], cart)
    const confirmedFirst = await together(() => [
      confirm(first.id, {}, context()),
      reserveLines([{ productId, quantity: 6 }], cart),
    ])
    expect([confirmedFirst, await stateOf(first.id)]).toEqual([['done', 'done'], 'confirmed'])
    const [second] = await sql<
      Array<{ id: string }>
    >`select id from reservations where state = 'held' and holder = 'shopper' and reference = 'cart'`
    const replacedFirst = await together(() => [
      reserveLines([{ productId, quantity: 5 }], cart),
      confirm(second?.id ?? '', {}, context()),
      adjustStock(productId, { quantity: -1, reason: 'lost' }, context()),
    ])
    expect(replacedFirst).toEqual(['done', 'not_held', 'done'])
    expect(await stateOf(second?.id ?? '')).toBe('released')
    expect(await getStock(productId, context())).toMatchObject({ onHand: 5, reserved: 5 })
  })

  it('count what a holder no longer holds', async () => {
    const { id: productId } = await newProduct({ initialStock: 20 })
    await sql`update products set limit_per_holder = 4 where id = ${productId}`
    const held = await hold([{ productId, quantity: 4 }], { holder: 'shopper' })
    const codes = await together(() => [
      reserveLines([{ productId, quantity: 1 }], { holder: 'shopper' }),
      release(held.id, context()),
      reserveLines([{ productId, quantity: 3 }], { holder: 'shopper' }),
      reserveLines([{ productId, quantity: 2 }], { holder: 'shopper' }),
    ])
    expect(codes).toEqual(['limit_exceeded', 'done', 'done', 'limit_exceeded'])
  })

  it('are kept apart where they change one reservation', async () => {
    const { id: productId } = await newProduct({ initialStock: 5 })
    const { id } = await hold([{ productId, quantity: 2 }])
    const codes = await together(() => [
      extend(id, { ttlSeconds: 60 }, context()),
      confirm(id, { lines: [{ productId, quantity: 1 }] }, context()),
      confirm(id, {}, context()),
      release(id, context()),
    ])
    expect(codes).toEqual(['done', 'done', 'done', 'not_held'])
    expect(await getStock(productId, context())).toMatchObject({ onHand: 4, reserved: 0 })
  })

  it('leave out a refused one without a trace, be it the last of 500 adjustments that is too much', async () => {
    const products = await Promise.all([1, 2, 3].map(() => newProduct({ initialStock: 5 })))
    const [one, two, three] = products.map(({ id }) => id) as [string, string, string]
    const lost = (productId: string, quantity: number) => ({ productId, quantity: -quantity, reason: 'lost' as const })
    const codes = await together(() => [
      adjustStocks({ adjustments: [lost(one, 5), lost(two, 5), lost(three, 6)] }, context()),
      adjustStocks(
        { adjustments: [lost(one, 5), lost(two, 5), { ...lost(three, -2_147_483_640), location: 'main' }] },
        context(),
      ),
      reserveLines([one, two, three].map((productId) => ({ productId, quantity: 5 }))),
    ])
    expect(codes).toEqual(['insufficient_stock', 'validation_failed', 'done'])
  })
})

describe('a group', () => {
  async function mixed(size: number): Promise<Array<(by: RequestContext) => Promise<unknown>>> {
    const products = await Promise.all(Array.from({ length: size }, () => newProduct({ initialStock: 10 })))
    const changes = products.map(async ({ id: productId }) => {
      const [toConfirm, toRelease, toExtend] = await Promise.all(
        [1, 2, 3].map(() => hold([{ productId, quantity: 1 }])),
      )
      return [
        (by: RequestContext) => reserve(ReserveRequest.parse({ lines: [{ productId, quantity: 1 }] }), by),
        (by: RequestContext) => confirm(toConfirm?.id ?? '', {}, by),
        (by: RequestContext) => release(toRelease?.id ?? '', by),
        (by: RequestContext) => extend(toExtend?.id ?? '', { ttlSeconds: 60 }, by),
        (by: RequestContext) => adjustStock(productId, { quantity: 1, reason: 'received' }, by),
      ]
    })
    return (await Promise.all(changes)).flat()
  }

  it('sends as many statements for 100 changes as for 5', async () => {
    const counts: number[] = []
    for (const size of [1, 20]) {
      const changes = await mixed(size)
      const during = async (work: () => Promise<void>) => counts.push(await statementsOf(work))
      await together(() => changes.map((change) => change(context())), during)
    }
    expect(counts[1]).toBe(counts[0])
    // This includes the statements of the change that the others wait behind, and the rival's commit.
    expect(counts[0]).toBeLessThan(40)
  })

  it('sends none for what no change of it needs', async () => {
    const { id: productId } = await newProduct({ initialStock: 100 })
    const adjusting = await statementsOf(() => adjustStock(productId, { quantity: 1, reason: 'received' }, context()))
    const reserving = await statementsOf(() => reserveLines([{ productId, quantity: 1 }]))
    const { id } = await hold([{ productId, quantity: 1 }])
    const extending = await statementsOf(() => extend(id, { ttlSeconds: 60 }, context()))
    const confirming = await statementsOf(() => confirm(id, {}, context()))
    // Begin, four statements that lock, one that looks for overdue holds, three that write stock, commit, and the position.
    expect(adjusting).toBe(11)
    // Two more statements write reservations.
    expect(reserving).toBe(adjusting + 2)
    // An extension looks the reservation up, locks it, and writes it with its lines, but writes no stock.
    expect(extending).toBe(adjusting + 4 - 3)
    expect(confirming).toBe(adjusting + 4)
  })
})
