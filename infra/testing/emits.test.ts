import { expect, it } from 'vitest'
import { eventRequest, type FunctionDefinition } from '#function'
import {
  allFunctions,
  call,
  expire,
  functionNamed,
  hold,
  newProduct,
  publishedBy,
  sql,
  stockAt,
  traceparentOf,
  uploadProducts,
} from '#testing'

type Run = (definition: FunctionDefinition) => Promise<unknown>

/** Makes a product with ten pieces in stock and an overdue hold of one piece. A transaction that locks the stock ends the hold. */
async function withOverdueHold(): Promise<string> {
  const { id } = await newProduct({ initialStock: 10, lowStockThreshold: 5 })
  const { id: reservationId } = await hold([{ productId: id, quantity: 1 }])
  await expire(reservationId)
  return id
}

/** Delivers an event to a function, as the function's trigger would. */
async function deliver(definition: FunctionDefinition, type: string, data: object, id: string = crypto.randomUUID()) {
  const attributes = { id, source: '/test', specversion: '1.0', type } as const
  const response = await definition.app.fetch(
    eventRequest(attributes, data, { traceparent: traceparentOf(definition) }),
  )
  expect(response.ok, await response.text()).toBe(true)
}

async function expectSuccess(definition: FunctionDefinition, options: Parameters<typeof call>[1]) {
  const { status, body } = await call(definition, options)
  expect(status, JSON.stringify(body)).toBeLessThan(300)
  return body
}

const onProduct =
  (body: object = {}): Run =>
  async (definition) =>
    expectSuccess(definition, { params: { productId: await withOverdueHold() }, body })

/** Ends a hold on a product that has a second, overdue hold. */
const onReservation =
  (bodyFor: (productId: string) => object = () => ({})): Run =>
  async (definition) => {
    const { id: productId } = await newProduct({ initialStock: 10 })
    const overdue = await hold([{ productId, quantity: 1 }])
    const { id: reservationId } = await hold([{ productId, quantity: 2 }])
    await expire(overdue.id)
    await expectSuccess(definition, { params: { reservationId }, body: bodyFor(productId) })
  }

async function change(productId: string, available: number) {
  const [{ onHand, version }] = await sql<[{ onHand: number; version: number }]>`
    select on_hand as "onHand", version from stock_levels where product_id = ${productId} and location = 'main'`
  await stockAt(productId, 'main', available - onHand)
  return { productId, version: version + 1, stock: { onHand: available, reserved: 0, available } }
}

/** For each function that publishes events: how to make it publish each of its types. */
const scenarios: Record<string, Run> = {
  'adjust-stock': onProduct({ quantity: 1, reason: 'received' }),
  'adjust-stocks': async (definition) => {
    const adjustments = [{ productId: await withOverdueHold(), quantity: 1, reason: 'received' }]
    await expectSuccess(definition, { body: { adjustments } })
  },
  'confirm-reservation': onReservation((productId) => ({ lines: [{ productId, quantity: 1 }] })),
  'count-stock': async (definition) => {
    const counts = [{ productId: await withOverdueHold(), counted: 3 }]
    await expectSuccess(definition, { body: { counts } })
  },
  'create-product': (definition) =>
    expectSuccess(definition, { body: { sku: 'CREATED', name: 'Created', initialStock: 1 } }),
  'delete-product': onProduct(),
  'detect-low-stock': async (definition) => {
    const { id: productId } = await newProduct({ initialStock: 10, lowStockThreshold: 5 })
    for (const available of [9, 4, 0, 9]) {
      await deliver(definition, 'stock.adjusted', await change(productId, available))
    }
    const soldOut = await change(productId, 0)
    await stockAt(productId, 'second', 1)
    const { id } = await hold([{ productId, quantity: 1 }])
    await expire(id)
    await deliver(definition, 'stock.adjusted', soldOut)
  },
  'expire-reservations': async (definition) => {
    await withOverdueHold()
    await deliver(definition, 'schedule.tick', {})
  },
  'extend-reservation': onReservation(() => ({ ttlSeconds: 60 })),
  'process-job': async (definition) => {
    const productId = await withOverdueHold()
    const [{ sku }] = await sql<[{ sku: string }]>`select sku from products where id = ${productId}`
    const jobId = await uploadProducts('csv', `sku,name,initialStock\nIMPORTED,Imported,1\n${sku},Renamed,0\n`)
    await deliver(definition, 'job.due', { jobId })
  },
  'release-reservation': onReservation(),
  'reserve-stock': async (definition) => {
    const productId = await withOverdueHold()
    const body = { lines: [{ productId, quantity: 1 }], holder: 'shopper', reference: 'cart' }
    await expectSuccess(definition, { body })
    // This reservation replaces the first one, which ends as released.
    await expectSuccess(definition, { body })
  },
  'set-limit': onProduct({ perHolder: 3 }),
  'update-product': onProduct({ name: 'Renamed' }),
}

// If a function publishes an event that is not in its emits, the test file that made it do so fails (`database-per-file.ts`).
it.each(Object.entries(scenarios))('%s publishes each of the event types that it declares', async (name, run) => {
  const definition = await functionNamed(name)
  await run(definition)
  expect(await publishedBy(definition, sql)).toEqual([...definition.emits].sort())
})

it('the other functions declare none', async () => {
  const emitting = (await allFunctions()).filter(({ emits }) => emits.length > 0).map(({ name }) => name)
  expect(emitting.sort()).toEqual(Object.keys(scenarios).sort())
})
