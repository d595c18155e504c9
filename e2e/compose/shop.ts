import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { ShopClient, ShopRequest, ShopResponse } from './client.ts'

/** Some hundred requests a second: enough for every restart to hit some, and no load test. */
const SHOPPERS = 12
const PAUSE_MS = 20
const STOCK = 1_000_000
/** Held until long after the test. */
const TTL_SECONDS = 86_400
/** Rounds between two checks of the ledger. */
const CHECK_LEDGER = 40

/** What the answers said, to compare with what is there in the end. */
export interface Ledger {
  productId: string
  /** The state that each reservation was acknowledged in last. */
  reservations: Map<string, 'held' | 'confirmed' | 'released'>
  /** Of the adjustments that were acknowledged. */
  added: number
  jobs: string[]
}

export interface Shop {
  ledger: Ledger
  /** Resolves when that many more reservations have been acknowledged. Throws what a shopper threw. */
  more: (count: number) => Promise<void>
  /** Lets every shopper finish its round. Throws what one of them threw. */
  close: () => Promise<void>
}

export async function newProduct(client: ShopClient, initialStock: number): Promise<string> {
  const body = { sku: `E2E-${randomUUID()}`, name: 'Sold under fire', initialStock }
  const { status, body: product } = await client.sendUntilAnswered({
    method: 'POST',
    path: '/v1/products',
    body,
    key: randomUUID(),
  })
  expect(status).toBe(201)
  return String(product.id)
}

/** Shoppers that reserve, confirm, release and read. Each write has a key, and is sent until it is answered. */
export async function openShop(client: ShopClient): Promise<Shop> {
  client.answers.clear()
  const ledger: Ledger = { productId: await newProduct(client, STOCK), reservations: new Map(), added: 0, jobs: [] }
  let isOpen = true
  const shoppers = Promise.all(
    Array.from({ length: SHOPPERS }, async (_, shopper) => {
      for (let round = shopper; isOpen; round++) {
        await shop(client, ledger, round)
        await sleep(PAUSE_MS)
      }
    }),
  )
  // `more` and `close` throw it.
  shoppers.catch(() => {})
  return {
    ledger,
    async more(count) {
      const wanted = ledger.reservations.size + count
      const reached = async () => {
        while (ledger.reservations.size < wanted) await sleep(50)
      }
      await Promise.race([reached(), shoppers])
    },
    async close() {
      isOpen = false
      await shoppers
    },
  }
}

async function shop(client: ShopClient, ledger: Ledger, round: number): Promise<void> {
  const { productId, reservations } = ledger
  const write = (path: string, body: object = {}) =>
    client.sendUntilAnswered({ method: 'POST', path, body, key: randomUUID() })
  const lines = [{ productId, quantity: 1 }]
  const { status, body: reservation, token } = await write('/v1/reservations', { lines, ttlSeconds: TTL_SECONDS })
  expect([status, reservation.code]).toEqual([201, undefined])
  const id = String(reservation.id)
  reservations.set(id, 'held')
  const seen = await client.sendUntilAnswered({ method: 'GET', path: `/v1/reservations/${id}`, token })
  expect([seen.status, seen.body.state], 'a read that comes with the token of a write sees it').toEqual([200, 'held'])
  if (round % 3 === 0) await end(write, ledger, id, 'confirm', 'confirmed')
  else if (round % 3 === 1) await end(write, ledger, id, 'release', 'released')
  if (round % 5 === 0) {
    const adjusted = await write(`/v1/products/${productId}/stock/adjustments`, { quantity: 1, reason: 'received' })
    expect(adjusted.status).toBe(201)
    ledger.added++
  }
  if (round % CHECK_LEDGER === 0) {
    const job = await write('/v1/jobs', { type: 'verify-ledger', payload: {} })
    expect(job.status).toBe(202)
    ledger.jobs.push(String(job.body.id))
  }
}

async function end(
  write: (path: string) => Promise<ShopResponse>,
  { reservations }: Ledger,
  id: string,
  verb: 'confirm' | 'release',
  state: 'confirmed' | 'released',
): Promise<void> {
  const { status, body } = await write(`/v1/reservations/${id}/${verb}`)
  expect([status, body.state]).toEqual([200, state])
  reservations.set(id, state)
}

/** Answers that a client may get while things restart. */
const DOCUMENTED =
  /^(20[0124]|409 request_in_progress|502 bad_gateway|503 (unavailable|overloaded|busy)|504 gateway_timeout|none)$/

/** Fails unless everything that was acknowledged is there, once, and whatever was answered is documented. */
export async function expectNothingLost(client: ShopClient, ledger: Ledger): Promise<void> {
  const told = [...client.answers].map(([answer, times]) => `${times} × ${answer}`).join(', ')
  process.stdout.write(`${ledger.reservations.size} reservations acknowledged; answers: ${told}\n`)
  const get = async (path: ShopRequest['path']) => (await client.sendUntilAnswered({ method: 'GET', path })).body
  expect([...client.answers.keys()].filter((answer) => !DOCUMENTED.test(answer))).toEqual([])
  const states = [...ledger.reservations.values()]
  const count = (state: string) => states.filter((each) => each === state).length
  const stock = await get(`/v1/products/${ledger.productId}/stock`)
  expect(stock).toMatchObject({ onHand: STOCK + ledger.added - count('confirmed'), reserved: count('held') })
  expect(await get('/v1/stock/audit')).toMatchObject({ consistent: true, discrepancies: [] })
  for (const [id, state] of ledger.reservations) {
    expect((await get(`/v1/reservations/${id}`)).state, id).toBe(state)
  }
  for (const id of ledger.jobs) {
    await expect
      .poll(async () => (await get(`/v1/jobs/${id}`)).state, { timeout: 90_000, interval: 500 })
      .toBe('succeeded')
  }
}
