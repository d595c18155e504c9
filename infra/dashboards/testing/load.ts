import { setTimeout as sleep } from 'node:timers/promises'
import type { Receiver } from '../../testing/support/http/receiver.ts'

interface Api {
  url: string
  key: string
}

const CLIENTS = 4
/** The pause between two requests of a client, so that a laptop's event loop has time for the scrapes. */
const PAUSE_MS = 5
/** The shortest possible hold. */
const TTL_SECONDS = 5

/**
 * Makes load of every kind, until `signal` aborts: shoppers who hold, pay, release, let holds expire and find nothing left, readers, wrong
 * keys, imports, exports, audits, and a webhook at `receiver`.
 */
export async function makeLoad(api: Api, receiver: Pick<Receiver, 'url'>, signal: AbortSignal): Promise<void> {
  const events = ['stock.low', 'stock.out', 'stock.back', 'reservation.expired']
  await send(api, 'POST /v1/webhooks', { url: receiver.url, events })
  const productIds: string[] = []
  for (const sku of ['LOAD-HOT', 'LOAD-OTHER', 'LOAD-RARE']) {
    const initialStock = sku === 'LOAD-RARE' ? 1_000 : 1_000_000
    const product = { sku, name: sku, initialStock, lowStockThreshold: 500 }
    productIds.push(String((await send(api, 'POST /v1/products', product)).id))
  }
  const [hot = '', other = '', rare = ''] = productIds
  const clients = [operate(api, rare, signal)]
  for (let client = 0; client < CLIENTS; client++) clients.push(shop(api, hot, other, signal))
  await Promise.all(clients)
}

async function shop(api: Api, hot: string, other: string, signal: AbortSignal): Promise<void> {
  for (let turn = 0; !signal.aborted; turn++) {
    const productId = turn % 4 === 0 ? other : hot
    const { id } = await send(api, 'POST /v1/reservations', {
      lines: [{ productId, quantity: 1 }],
      ttlSeconds: TTL_SECONDS,
    })
    if (turn % 4 === 0) await send(api, `POST /v1/reservations/${id}/confirm`)
    if (turn % 4 === 1) await send(api, `POST /v1/reservations/${id}/release`)
    if (turn % 4 === 2) await send(api, `POST /v1/reservations/${id}/extend`, { ttlSeconds: TTL_SECONDS })
    await send(api, `GET /v1/products/${hot}`)
    await send(api, `GET /v1/products/${hot}/stock`)
    await send(api, 'GET /v1/products?limit=5')
    await send(api, 'POST /v1/stock/availability', { items: [{ productId: hot, quantity: 1 }] })
    await sleep(PAUSE_MS)
  }
}

/** Sends the rarer requests. Some of them are refused. */
async function operate(api: Api, rare: string, signal: AbortSignal): Promise<void> {
  for (let turn = 0; !signal.aborted; turn++) {
    await refused(api, 'POST /v1/reservations', { lines: [{ productId: rare, quantity: 5_000 }] })
    await refused({ ...api, key: 'a-wrong-key' }, 'GET /v1/products')
    await send(api, `POST /v1/products/${rare}/stock/adjustments`, {
      quantity: turn % 2 === 0 ? -900 : 900,
      reason: 'correction',
    })
    await send(api, 'GET /v1/stock/audit')
    await send(api, 'POST /v1/jobs', { type: 'export-stock', payload: { format: 'csv' } })
    await send(api, 'POST /v1/jobs', { type: 'verify-ledger', payload: {} })
    await send(api, 'POST /v1/products/imports', '{"sku":"LOAD-IMPORT","name":"Imported"}\n', 'application/x-ndjson')
    // This job dies: the file has no column that exists.
    await send(api, 'POST /v1/products/imports', 'neither\n', 'text/csv')
    await sleep(200)
  }
}

/** Sends a request, and returns the body of the answer. Throws if the answer is an error. */
async function send(
  api: Api,
  route: string,
  body?: object | string,
  type = 'application/json',
): Promise<Record<string, unknown>> {
  const response = await request(api, route, body, type)
  const answer = (await response.json()) as Record<string, unknown>
  if (!response.ok) throw new Error(`${route}: ${JSON.stringify(answer)}`)
  return answer
}

async function refused(api: Api, route: string, body?: object): Promise<void> {
  const response = await request(api, route, body, 'application/json')
  await response.arrayBuffer()
  if (response.ok) throw new Error(`${route}: ${response.status}, and should be refused`)
}

function request({ url, key }: Api, route: string, body: object | string | undefined, type: string): Promise<Response> {
  const [method = '', path = ''] = route.split(' ')
  const headers = { authorization: `Bearer ${key}`, ...(body !== undefined && { 'content-type': type }) }
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return fetch(`${url}${path}`, { method, headers, ...(text !== undefined && { body: text }) })
}
