import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { parseToken } from '#database'
import type { ShopClient, ShopRequest, ShopResponse } from './client.ts'

/** Some hundred requests a second: enough for every restart to hit some, but not a load test. */
const SHOPPERS = 12
const PAUSE_MS = 20
const STOCK = 1_000_000
/** Holds last until long after the test. */
const TTL_SECONDS = 86_400
/** The number of rounds between two checks of the ledger. */
const CHECK_LEDGER = 40

/** The services that the shop uses, with their dependencies. */
export const SHOP_SERVICES = [
  ...['postgres-primary', 'postgres-replica', 'router', 'create-product', 'adjust-stock', 'get-stock', 'audit-stock'],
  ...['reserve-stock', 'confirm-reservation', 'release-reservation', 'get-reservation'],
  ...['submit-job', 'get-job', 'dispatch-jobs', 'process-job'],
]

/** The state that the answers describe, to be compared with the final state. */
export interface Ledger {
  productId: string
  /** The last acknowledged state of each reservation. */
  reservations: Map<string, 'held' | 'confirmed' | 'released'>
  /** The sum of the acknowledged adjustments. */
  added: number
  jobs: string[]
  /** Whether acknowledged writes may be lost, as after a fail-over with asynchronous replication. */
  mayLose: boolean
  /** When the first and the last write was acknowledged on each WAL timeline, by `performance.now()`. */
  acknowledged: Map<number, { firstAt: number; lastAt: number }>
  /** The timeline of each reservation's last acknowledgement. */
  timelines: Map<string, number>
}

export interface Shop {
  ledger: Ledger
  /** Resolves when `count` more reservations have been acknowledged. Throws the error of any shopper. */
  more: (count: number) => Promise<void>
  /** Lets every shopper finish its round. Throws the error of any shopper. */
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

/**
 * Starts shoppers that reserve, confirm, release and read. Each write has a key, and is sent until it is answered. With `mayLose`, a
 * reservation may be lost later; `findLost` tells which.
 */
export async function openShop(client: ShopClient, { mayLose = false } = {}): Promise<Shop> {
  client.answers.clear()
  const ledger: Ledger = {
    productId: await newProduct(client, STOCK),
    reservations: new Map(),
    added: 0,
    jobs: [],
    mayLose,
    acknowledged: new Map(),
    timelines: new Map(),
  }
  let isOpen = true
  const shoppers = Promise.all(
    Array.from({ length: SHOPPERS }, async (_, shopper) => {
      for (let round = shopper; isOpen; round++) {
        await shop(client, ledger, round)
        await sleep(PAUSE_MS)
      }
    }),
  )
  // `more` and `close` throw the error.
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
  const write = async (path: string, body: object = {}) => {
    const answer = await client.sendUntilAnswered({ method: 'POST', path, body, key: randomUUID() })
    noteTimeline(ledger, answer)
    return answer
  }
  const lines = [{ productId, quantity: 1 }]
  const { status, body: reservation, token } = await write('/v1/reservations', { lines, ttlSeconds: TTL_SECONDS })
  expect([status, reservation.code]).toEqual([201, undefined])
  const id = String(reservation.id)
  reservations.set(id, 'held')
  ledger.timelines.set(id, timelineOf(token))
  const seen = await client.sendUntilAnswered({ method: 'GET', path: `/v1/reservations/${id}`, token })
  if (ledger.mayLose && seen.status === 404) return
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

const timelineOf = (token: string | undefined) => (token === undefined ? 0 : parseToken(token).timeline)

function noteTimeline({ acknowledged }: Ledger, { token }: ShopResponse): void {
  if (token === undefined) return
  const lastAt = performance.now()
  const { firstAt } = acknowledged.get(timelineOf(token)) ?? { firstAt: lastAt }
  acknowledged.set(timelineOf(token), { firstAt, lastAt })
}

async function end(
  write: (path: string) => Promise<ShopResponse>,
  { reservations, timelines, mayLose }: Ledger,
  id: string,
  verb: 'confirm' | 'release',
  state: 'confirmed' | 'released',
): Promise<void> {
  const { status, body, token } = await write(`/v1/reservations/${id}/${verb}`)
  if (mayLose && status === 404) return
  expect([status, body.state]).toEqual([200, state])
  reservations.set(id, state)
  timelines.set(id, timelineOf(token))
}

/** Answers that a client may get while services restart. */
const DOCUMENTED =
  /^(20[0124]|409 request_in_progress|502 bad_gateway|503 (unavailable|overloaded|busy)|504 gateway_timeout|none)$/

const GONE = /^404 (reservation|job)_not_found$/

/** Fails unless every acknowledged write is there, once, and every answer is documented. */
export async function expectNothingLost(client: ShopClient, ledger: Ledger): Promise<void> {
  expect(await findLost(client, ledger)).toEqual([])
}

/** An acknowledged write that is missing: a reservation, the last change of one, or adjustments. */
export interface Lost {
  what: string
  /** The WAL timeline on which it was acknowledged; undefined if that is not known for each write. */
  timeline: number | undefined
}

/** Fails unless balances, ledger and reservations agree, and every answer is documented. Returns the missing writes of the shop's ledger. */
export async function findLost(client: ShopClient, ledger: Ledger): Promise<Lost[]> {
  const told = [...client.answers].map(([answer, times]) => `${times} × ${answer}`).join(', ')
  process.stdout.write(`${ledger.reservations.size} reservations acknowledged; answers: ${told}\n`)
  const isDocumented = (answer: string) => DOCUMENTED.test(answer) || (ledger.mayLose && GONE.test(answer))
  expect([...client.answers.keys()].filter((answer) => !isDocumented(answer))).toEqual([])
  const get = async (path: ShopRequest['path']) => (await client.sendUntilAnswered({ method: 'GET', path })).body
  const stock = await get(`/v1/products/${ledger.productId}/stock`)
  expect(await get('/v1/stock/audit')).toMatchObject({ consistent: true, discrepancies: [] })
  const states: unknown[] = []
  const lost: Lost[] = []
  for (const [id, state] of ledger.reservations) {
    const found = (await get(`/v1/reservations/${id}`)).state ?? 'gone'
    states.push(found)
    if (found !== state) {
      lost.push({ what: `reservation ${id}: ${state}, and is ${found}`, timeline: ledger.timelines.get(id) })
    }
  }
  const count = (state: string) => states.filter((each) => each === state).length
  expect(stock.reserved).toBe(count('held'))
  const missing = STOCK + ledger.added - count('confirmed') - Number(stock.onHand)
  expect(missing).toBeGreaterThanOrEqual(0)
  if (missing > 0) lost.push({ what: `${missing} of ${ledger.added} adjustments`, timeline: undefined })
  for (const id of ledger.jobs) {
    const stateOf = async () => (await get(`/v1/jobs/${id}`)).state ?? (ledger.mayLose ? 'succeeded' : 'gone')
    await expect.poll(stateOf, { timeout: 90_000, interval: 500 }).toBe('succeeded')
  }
  return lost
}
