import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { stringify } from 'yaml'
import { eventRequest } from '#function'
import { call, expire, functionNamed, hold, newProduct, sql, stockAt } from '#testing'
import { EventHeaders } from '../../shared/events/kafka/message.ts'
import { loadFunctions } from '../local/load-functions.ts'
import { asyncApiOf, payloads } from './asyncapi.ts'
import { exampleHeaders, examples } from './asyncapi-examples.ts'

const FILE = fileURLToPath(new URL('../../docs/asyncapi.yaml', import.meta.url))
const HEAD = '# Made from the code: npx vitest run infra/docs/asyncapi.test.ts -u\n'

it('docs/asyncapi.yaml tells of the topics, queues, messages and schemas that the code has', async () => {
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))
  const document = asyncApiOf(await loadFunctions(), version)
  await expect(`${HEAD}${stringify(document, { aliasDuplicateObjects: false, lineWidth: 128 })}`).toMatchFileSnapshot(
    FILE,
  )
})

it.each(Object.entries(examples))('the example of %s is such an event', (type, example) => {
  expect(payloads[type as keyof typeof payloads].parse(example)).toEqual(example)
  expect(EventHeaders.safeParse(exampleHeaders(type as keyof typeof payloads, 'a-topic')).error).toBeUndefined()
})

/** Makes the service publish every type of event. */
async function makeEvents(): Promise<void> {
  const { id: productId, sku } = await newProduct({
    initialStock: 10,
    lowStockThreshold: 5,
    price: { amount: 1999, currency: 'EUR' },
  })
  const lines = [{ productId, quantity: 1 }]
  const [confirmed, released, expired] = [await hold(lines), await hold(lines), await hold(lines)]
  const params = (id: string) => ({ params: { reservationId: id } })
  await call(await functionNamed('confirm-reservation'), params(confirmed.id))
  await call(await functionNamed('release-reservation'), params(released.id))
  await expire(expired.id)
  await call(await functionNamed('count-stock'), { body: { counts: [{ sku, counted: 4 }] } })
  await stockAt(productId, 'main', -4)
  await stockAt(productId, 'main', 20)
  const detect = await functionNamed('detect-low-stock')
  const events = await sql`select id, type, data from outbox where topic = 'stock-events' order by sequence`
  for (const { id, type, data } of events) {
    await detect.app.fetch(eventRequest({ id, source: 'test', specversion: '1.0', type }, data))
  }
  await call(await functionNamed('update-product'), {
    params: { productId },
    body: { name: 'Another' },
    headers: { 'content-type': 'application/merge-patch+json' },
  })
  await call(await functionNamed('delete-product'), { params: { productId } })
}

it('every type of event has the payload that the document tells, and nothing besides', async () => {
  await makeEvents()
  const rows = await sql<Array<{ type: keyof typeof payloads; data: unknown }>>`select type, data from outbox`
  for (const { type, data } of rows) expect(payloads[type].parse(data), type).toEqual(data)
  expect(new Set(rows.map(({ type }) => type))).toEqual(new Set(Object.keys(payloads)))
})
