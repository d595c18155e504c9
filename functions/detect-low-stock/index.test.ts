import { beforeEach, describe, expect, it } from 'vitest'
import { eventTypes } from '#events'
import { eventRequest } from '#function'
import { ProductChange } from '#stock/events'
import {
  call,
  expectConsistent,
  expire,
  functionNamed,
  hold,
  inRivalSession,
  newProduct,
  sql,
  statementsOf,
  stockAt,
} from '#testing'
import detectLowStock from './index.ts'

interface Told {
  id: string
  type: keyof typeof eventTypes
  productId: string
  version: number
  data: { version: number; [member: string]: unknown }
}

let productId: string

/** Creates a product whose threshold is 5, with 10 in stock, by default. */
async function setUp(lowStockThreshold: number | null = 5, initialStock = 10): Promise<void> {
  productId = (await newProduct({ lowStockThreshold, initialStock })).id
}

const events = () => sql<Told[]>`
  select id, type, product_id as "productId", version, data from outbox
  where type <> 'product.created' and product_id = ${productId} order by sequence`
const isAlert = ({ type }: Told) => ['stock.low', 'stock.out', 'stock.back'].includes(type)
const alerts = async () => (await events()).filter(isAlert).map(({ type }) => type)

async function deliver({ id, type, data }: Told, status = 200): Promise<void> {
  const source = `/topics/${eventTypes[type]}`
  const attributes = { id, source, specversion: '1.0', type } as const
  const response = await detectLowStock.app.fetch(eventRequest(attributes, data))
  expect(response.status).toBe(status)
}

/** Delivers the events since `after`, in order, as the trigger does: without the alerts. */
async function deliverAll(after = 0): Promise<void> {
  for (const event of await events()) if (event.version > after && !isAlert(event)) await deliver(event)
}

/** Sets the available quantity to each of these values, one after the other. Each change is handled before the next one. */
async function go(...quantities: number[]): Promise<string[]> {
  for (const quantity of quantities) {
    const [row] = await sql<[{ available: number; version: number }]>`
      select sum(on_hand - reserved)::bigint as available, max(version) as version from stock_levels where product_id = ${productId}`
    await deliverAll()
    await stockAt(productId, 'main', quantity - row.available)
    await deliverAll(row.version)
  }
  return alerts()
}

const updateProduct = await functionNamed('update-product')
const countStock = await functionNamed('count-stock')

async function setThreshold(lowStockThreshold: number | null): Promise<void> {
  const { status } = await call(updateProduct, { params: { productId }, body: { lowStockThreshold } })
  expect(status).toBe(200)
}

beforeEach(() => setUp())

describe('detect-low-stock', () => {
  it.each<[string, number[], string[]]>([
    ['says low once, at the threshold', [6, 5, 4, 1], ['stock.low']],
    ['says out once, from low', [3, 0], ['stock.low', 'stock.out']],
    ['says out, and nothing else, where stock falls to nothing at once', [0], ['stock.out']],
    ['says back when stock rises above the threshold', [5, 6, 7], ['stock.low', 'stock.back']],
    ['says back when stock rises above nothing, though it is low still', [0, 1, 2], ['stock.out', 'stock.back']],
    ['says back again when it then rises above the threshold', [0, 1, 6], ['stock.out', 'stock.back', 'stock.back']],
    ['says back once from nothing to plenty', [0, 10], ['stock.out', 'stock.back']],
    ['says out again after back, without low between', [0, 1, 0], ['stock.out', 'stock.back', 'stock.out']],
    ['says all of it again on the next way down', [5, 6, 5], ['stock.low', 'stock.back', 'stock.low']],
  ])('%s', async (_, quantities, expected) => {
    expect(await go(...quantities)).toEqual(expected)
    await expectConsistent()
  })

  it('never says low without a threshold, but out and back', async () => {
    await setUp(null)
    expect(await go(1, 0, 1, 100)).toEqual(['stock.out', 'stock.back'])
  })

  it('says out rather than low where the threshold is 0', async () => {
    await setUp(0)
    expect(await go(1, 0, 1)).toEqual(['stock.out', 'stock.back'])
  })

  it('says low of a product that is low from the start, and nothing of one that begins with nothing', async () => {
    await setUp(5, 3)
    await deliverAll()
    expect(await alerts()).toEqual(['stock.low'])
    await setUp(5, 0)
    expect(await go(10)).toEqual([])
  })

  it('counts what is held as gone, and what expires as back', async () => {
    const { id } = await hold([{ productId, quantity: 10 }])
    await deliverAll()
    await expire(id)
    await stockAt(productId, 'main', 1)
    await deliverAll()
    expect(await alerts()).toEqual(['stock.out', 'stock.back'])
    await expectConsistent()
  })

  it('takes the threshold that holds when it looks', async () => {
    await sql`update products set low_stock_threshold = 20 where id = ${productId}`
    expect(await go(11)).toEqual(['stock.low'])
    await sql`update products set low_stock_threshold = null where id = ${productId}`
    expect(await go(10, 21)).toEqual(['stock.low'])
    await sql`update products set low_stock_threshold = 22 where id = ${productId}`
    expect(await go(22)).toEqual(['stock.low', 'stock.low'])
  })

  it.each<[string, number, Array<number | null>, string[]]>([
    ['low when the threshold is raised to what is left', 10, [9, 10], ['stock.low']],
    ['low when a product that had none is given one', 10, [null, 10], ['stock.low']],
    ['nothing more when the threshold is lowered below what is left', 3, [5, 3, 2], ['stock.low']],
    ['nothing more when the threshold is taken away', 3, [5, null], ['stock.low']],
    ['low each time that the threshold is raised past it', 7, [7, 6, 8], ['stock.low', 'stock.low']],
    ['nothing when the threshold moves and passes nothing', 10, [4, 9, 0, null], []],
    ['nothing more of a product that is out', 0, [5, 100, null], ['stock.out']],
  ])('says %s, without any change of stock', async (_, quantity, thresholds, expected) => {
    await setUp(null)
    await go(quantity)
    for (const threshold of thresholds) {
      await setThreshold(threshold)
      await deliverAll()
    }
    expect(await alerts()).toEqual(expected)
    await expectConsistent()
  })

  it('says back for what has come, not for a threshold that is lowered, whichever it is told of first', async () => {
    for (const [received, expected] of [
      [1, ['stock.low']],
      [-1, ['stock.low']],
    ] as const) {
      for (const isThresholdFirst of [true, false]) {
        await setUp(5)
        await go(3)
        const before = (await events()).length
        await setThreshold(1)
        await stockAt(productId, 'main', received)
        const both = (await events()).slice(before)
        expect(both.map(({ type }) => type)).toEqual(['product.updated', 'stock.adjusted'])
        for (const event of isThresholdFirst ? both : both.reverse()) await deliver(event)
        expect(await alerts()).toEqual(expected)
      }
    }
  })

  it('says low again at a threshold that was lowered, and back above it', async () => {
    await go(3)
    await setThreshold(2)
    await deliverAll()
    expect(await go(2, 3)).toEqual(['stock.low', 'stock.low', 'stock.back'])
  })

  it('says nothing of what a stocktake finds at another location', async () => {
    await stockAt(productId, 'second', 0)
    await deliverAll()
    for (const [main, second] of [
      [0, 10],
      [10, 0],
      [4, 6],
    ]) {
      const counts = [
        { productId, counted: main },
        { productId, location: 'second', counted: second },
      ]
      expect((await call(countStock, { body: { counts } })).status).toBe(200)
    }
    const told = (await events()).filter(({ type }) => type === 'stock.counted')
    expect(told.map(({ data }) => data.intermediate)).toEqual([true, undefined, true, undefined, true, undefined])
    await deliverAll()
    expect(await alerts()).toEqual([])
    await expectConsistent()
  })

  it('says what a stocktake has left, once', async () => {
    await stockAt(productId, 'second', 10)
    await deliverAll()
    const counts = [
      { productId, counted: 0 },
      { productId, location: 'second', counted: 5 },
    ]
    await call(countStock, { body: { counts } })
    await deliverAll()
    expect(await alerts()).toEqual(['stock.low'])
  })

  it('says nothing of a hold that is overdue and makes way for another', async () => {
    const { id } = await hold([{ productId, quantity: 10 }])
    await deliverAll()
    await expire(id)
    await hold([{ productId, quantity: 10 }])
    await deliverAll()
    expect(await alerts()).toEqual(['stock.out'])
  })

  it('says nothing of a shopper whose hold of all there is makes way for another of theirs', async () => {
    const shopper = { holder: 'shopper', reference: 'cart' }
    await hold([{ productId, quantity: 10 }], shopper)
    await hold([{ productId, quantity: 10 }], shopper)
    await deliverAll()
    expect(await alerts()).toEqual(['stock.out'])
  })

  it('goes by an event that bears no mark, as those did that an older version has written', async () => {
    await stockAt(productId, 'main', -10)
    const out = (await events()).at(-1)
    if (!out) throw new Error('there are no events')
    expect(out.data).not.toHaveProperty('intermediate')
    await deliver(out)
    expect(await alerts()).toEqual(['stock.out'])
  })

  it('counts all locations together, however many pieces that is', async () => {
    await setUp(1_000_000_000, 900_000_000)
    await deliverAll()
    await stockAt(productId, 'second', 1_000_000_000)
    await stockAt(productId, 'second', 1_000_000_000)
    await deliverAll()
    expect(await alerts()).toEqual(['stock.low', 'stock.back'])
  })

  it('leaves an event to be tried again that its own statements fail on', async () => {
    await deliverAll()
    await stockAt(productId, 'main', -10)
    const out = (await events()).at(-1)
    if (!out) throw new Error('there are no events')
    // A defect of this service, as the database reports it: an arithmetic error in a statement.
    await sql.unsafe(
      `create function break_alerts() returns trigger language plpgsql as $$ begin perform 1 / 0; return new; end $$`,
    )
    await sql.unsafe(
      'create trigger broken before insert or update on stock_alerts for each row execute function break_alerts()',
    )
    try {
      await deliver(out, 500)
    } finally {
      await sql.unsafe('drop trigger broken on stock_alerts; drop function break_alerts')
    }
    await deliver(out)
    expect(await alerts()).toEqual(['stock.out'])
  })

  it('says nothing of a product that has had no stock so far, whatever else changes', async () => {
    await setUp(5, 0)
    for (const threshold of [7, 0, null]) await setThreshold(threshold)
    await deliverAll()
    expect(await go(10, 0)).toEqual(['stock.out'])
  })

  it('says once what a threshold and a change of stock bring about together, whichever it is told of first', async () => {
    for (const isThresholdFirst of [true, false]) {
      await setUp(5)
      await deliverAll()
      const before = (await events()).length
      await stockAt(productId, 'main', -2)
      await setThreshold(8)
      const both = (await events()).slice(before)
      expect(both.map(({ type }) => type)).toEqual(['stock.adjusted', 'product.updated'])
      for (const event of isThresholdFirst ? both.reverse() : both) await deliver(event)
      expect(await alerts()).toEqual(['stock.low'])
    }
  })

  it('gives an alert the product’s next version, the stock then, and its cause', async () => {
    await stockAt(productId, 'main', -7)
    const cause = (await events()).at(-1)
    await stockAt(productId, 'main', 50)
    const change = (await events()).at(-1)
    if (!cause || !change) throw new Error('there are no events')
    await deliver(cause)
    const alert = (await events()).at(-1)
    expect(alert).toMatchObject({ type: 'stock.low', version: change.version + 1 })
    expect(alert?.data).toEqual({
      productId,
      version: change.version + 1,
      sku: expect.stringMatching(/^SKU-/),
      lowStockThreshold: 5,
      stock: { onHand: 53, reserved: 0, available: 53 },
      cause: { id: cause.id, version: cause.version, available: 3 },
    })
    await deliver(change)
    expect(await alerts()).toEqual(['stock.low', 'stock.back'])
    await expectConsistent()
  })

  it('gives one alert for an event that comes again, later or at the same time', async () => {
    await stockAt(productId, 'main', -8)
    const [first, second] = await events()
    if (!first || !second) throw new Error('there are no events')
    await Promise.all([second, second, second, second].map((event) => deliver(event)))
    await deliver(second)
    await stockAt(productId, 'main', 8)
    await deliverAll(second.version)
    for (const event of [second, first]) await deliver(event)
    expect(await alerts()).toEqual(['stock.low', 'stock.back'])
  })

  it('is not turned back by an event that is older than what it has seen', async () => {
    for (const change of [-10, 3, 20]) await stockAt(productId, 'main', change)
    const [plenty, out, low, back] = await events()
    if (!plenty || !out || !low || !back) throw new Error('there are no events')
    for (const event of [plenty, low, out, back, low, out, plenty]) await deliver(event)
    expect(await alerts()).toEqual(['stock.low', 'stock.back'])
  })

  it('is not turned back by it either where the newer event changed nothing', async () => {
    for (const change of [1, -11, 20]) await stockAt(productId, 'main', change)
    const [first, more, out, plenty] = await events()
    if (!first || !more || !out || !plenty) throw new Error('there are no events')
    for (const event of [first, plenty, more, out]) await deliver(event)
    expect(await alerts()).toEqual([])
  })

  it('says nothing of a product that is deleted or unknown', async () => {
    await stockAt(productId, 'main', -10)
    const [, out] = await events()
    if (!out) throw new Error('there are no events')
    await sql`update products set deleted_at = now() where id = ${productId}`
    await deliver(out)
    expect(await alerts()).toEqual([])
    await deliver({ ...out, id: crypto.randomUUID(), data: { ...out.data, productId: crypto.randomUUID() } })
  })

  it('does not lock the product for a change that leaves it as it was', async () => {
    await deliverAll()
    await stockAt(productId, 'main', 1)
    const last = (await events()).at(-1)
    if (!last) throw new Error('there are no events')
    await inRivalSession(async (rival) => {
      await rival`select 1 from stock_levels where product_id = ${productId} for update`
      await deliver(last)
    })
  })

  describe('in a batch', () => {
    const type = 'application/cloudevents-batch+json'

    async function deliverTogether(told: readonly Told[]): Promise<{ retry: object[]; reject: object[] }> {
      const sent = told.map(({ id, type: eventType, data }) => ({
        id,
        type: eventType,
        source: `/topics/${eventTypes[eventType]}`,
        specversion: '1.0',
        data,
      }))
      const headers = { 'content-type': type }
      const request = new Request('http://function/', { method: 'POST', headers, body: JSON.stringify(sent) })
      const response = await detectLowStock.app.fetch(request)
      expect(response.status).toBe(200)
      return (await response.json()) as { retry: object[]; reject: object[] }
    }

    /** The events of all products. */
    const allEvents = () => sql<Told[]>`
      select id, type, product_id as "productId", version, data from outbox where type <> 'product.created' order by sequence`

    it('sees each change after the one before it, as if they came one by one', async () => {
      for (let round = 0; round < 6; round++) {
        // The same changes for two products: those of one product are delivered together, those of the other one by one.
        await setUp(5)
        const together = productId
        await setUp(5)
        const alone = productId
        for (let step = 0; step < 12; step++) {
          const [row] = await sql<[{ onHand: number }]>`
            select sum(on_hand)::int as "onHand" from stock_levels where product_id = ${alone}`
          const quantity = Math.floor(Math.random() * 12)
          if (quantity === row.onHand) continue
          for (const id of [together, alone]) await stockAt(id, 'main', quantity - row.onHand)
        }
        const told = (await allEvents()).filter((event) => !isAlert(event))
        for (const event of told.filter((each) => each.productId === alone)) await deliver(event)
        const batch = told.filter((each) => each.productId === together)
        const cut = Math.floor(Math.random() * batch.length)
        for (const part of [batch.slice(0, cut), batch.slice(cut)])
          expect(await deliverTogether(part)).toEqual({ retry: [], reject: [] })
        const alertsOf = async (id: string) =>
          (await allEvents())
            .filter((event) => event.productId === id && isAlert(event))
            .map((event) => [event.type, (event.data.cause as { version: number }).version])
        expect(await alertsOf(together)).toEqual(await alertsOf(alone))
      }
    })

    it('sees changes of many products that leave them as they are by one statement, and locks none of them', async () => {
      const ids = await Promise.all(
        Array.from({ length: 20 }, async () => (await newProduct({ lowStockThreshold: 5, initialStock: 50 })).id),
      )
      for (const id of ids) for (const change of [-1, 2, -3]) await stockAt(id, 'main', change)
      const told = (await allEvents()).filter(({ productId: id }) => ids.includes(id))
      await inRivalSession(async (rival) => {
        await rival`select 1 from stock_levels where product_id = any(${ids}::uuid[]) for update`
        const statements = await statementsOf(async () => {
          expect(await deliverTogether(told)).toEqual({ retry: [], reject: [] })
        })
        // One statement, in addition to begin, commit and the position.
        expect(statements).toBe(4)
      })
      const seen = await sql`select state, version from stock_alerts where product_id = any(${ids}::uuid[])`
      expect(seen).toHaveLength(20)
      expect(seen.every(({ state, version }) => state === 'none' && version >= 4)).toBe(true)
      // Events that come again change nothing.
      await deliverTogether(told)
      expect((await allEvents()).filter((event) => ids.includes(event.productId) && isAlert(event))).toEqual([])
    })

    it('waits for the disk where a crash would lose what no other event tells, and only there', async () => {
      await sql.unsafe(
        `create table commits (waits text);
         create function note_commit() returns trigger language plpgsql as $$
         begin insert into commits values (current_setting('synchronous_commit')); return null; end $$;
         create constraint trigger noted after insert or update on stock_alerts deferrable initially deferred
           for each row execute function note_commit()`,
      )
      let after = 0
      const waitsForNext = async () => {
        await sql`delete from commits`
        const told = (await events()).filter(({ version }) => version > after)
        after = told.at(-1)?.version ?? 0
        await deliverTogether(told)
        return (await sql<Array<{ waits: string }>>`select waits from commits`).map(({ waits }) => waits)
      }
      try {
        await stockAt(productId, 'main', 1)
        expect(await waitsForNext(), 'the first that is seen of a product').toEqual(['on'])
        await stockAt(productId, 'main', 1)
        expect(await waitsForNext()).toEqual(['off'])
        await setThreshold(6)
        expect(await waitsForNext(), 'another threshold').toEqual(['on'])
        await stockAt(productId, 'main', 1)
        expect(await waitsForNext()).toEqual(['off'])
      } finally {
        await sql`drop trigger noted on stock_alerts`
      }
    })

    it('leaves an event to be tried again whose alert fails, with what is behind it, and sees the others', async () => {
      await setUp(5, 10)
      const failing = productId
      await stockAt(failing, 'main', -10)
      await stockAt(failing, 'main', 10)
      await setUp(5, 10)
      await stockAt(productId, 'main', -10)
      const told = (await allEvents()).filter(({ productId: id }) => [failing, productId].includes(id))
      const outAt = told.findIndex((event) => event.productId === failing && event.data.onHandDelta === -10)
      await sql.unsafe(
        `create function break_alert() returns trigger language plpgsql as $$ begin perform 1 / 0; return new; end $$;
         create trigger broken before insert or update on stock_alerts for each row
           when (new.product_id = '${failing}' and new.state = 'out') execute function break_alert()`,
      )
      try {
        expect(await deliverTogether(told)).toMatchObject({
          reject: [],
          retry: [
            { index: outAt, id: told[outAt]?.id, status: 500, code: 'internal' },
            { index: outAt + 1, status: 503 },
          ],
        })
      } finally {
        await sql.unsafe('drop trigger broken on stock_alerts; drop function break_alert')
      }
      expect(await alerts()).toEqual(['stock.out'])
      await deliverTogether(told)
      productId = failing
      expect(await alerts()).toEqual(['stock.out', 'stock.back'])
      await expectConsistent()
    })
  })

  it('follows changes of products and their stock, and refuses anything else for good', async () => {
    expect(detectLowStock.trigger).toMatchObject({
      kind: 'stream',
      topics: ['stock-events', 'product-events'],
      group: 'detect-low-stock',
    })
    const [event] = await events()
    expect(ProductChange.safeParse(event?.data).success).toBe(true)
    await deliver(
      { id: crypto.randomUUID(), type: 'stock.low', productId, version: 1, data: { version: 1, sku: 'X' } },
      422,
    )
  })
})
