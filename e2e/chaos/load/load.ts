import { setTimeout as sleep } from 'node:timers/promises'
import type { Movement, Reservation } from '#stock/schema'
import type { Checker } from '../checks/checker.ts'
import { type Random, randomOf } from '../plan.ts'
import { type Answer, type Client, parsed, type Request } from './client.ts'
import { runImports } from './imports.ts'
import type { Shop } from './shop.ts'

export interface Load {
  /** Lets every client finish its current work. Throws the error of any client. */
  stop: () => Promise<void>
  /** The ids of reservations whose events have not been delivered, with the time of their acknowledgement. */
  undelivered: Map<string, number>
  /** Records that the event of a reservation has been delivered. That may happen before its answer. */
  deliver: (reservationId: string) => void
  /** Some of the decided writes, which are repeated at the end. */
  decided: Array<{ request: Request; answer: Answer }>
  /** Returns when the current import was acknowledged. */
  openImportSince: () => number | undefined
  /** The name and stock that imported products must have, by sku. */
  imported: Map<string, { name: string; onHand: number }>
}

/** Together they send some 40 requests a second: two cores also run the engines and thirty processes. */
const SHOPPERS = 10
const PAUSE_MS = [100, 400] as const
const SHARED = 5
const STOCK = 30
const COUNT_EVERY_MS = 2_000
/** The writes of an hour. More answers would not fit into memory. */
const WRITES_MAX = 200_000
/** One write in ten is repeated at the end. */
const REPEATED = 10

/** Makes products, and starts clients that hold, sell, adjust, count, import and read until they are stopped. */
export async function startLoad(client: Client, checker: Checker, seed: number): Promise<Load> {
  let isOpen = true
  let writes = 0
  const delivered = new Set<string>()
  const undelivered = new Map<string, number>()
  const load = {
    undelivered,
    decided: [] as Load['decided'],
    imported: new Map<string, { name: string; onHand: number }>(),
    deliver: (id: string) => {
      delivered.add(id)
      undelivered.delete(id)
    },
  }
  const hasHeld = (id: string) => {
    if (!delivered.has(id)) undelivered.set(id, Date.now())
  }
  const shop: Shop = {
    checker,
    random: randomOf(seed + 1),
    isOpen: () => isOpen && writes < WRITES_MAX,
    async write(request) {
      const key = `chaos-${seed}-${++writes}`
      const sent = { ...request, key, body: withReference(request, key) }
      const answer = await client.decide(sent)
      if (!answer) checker.neverDecided(key)
      else if (writes % REPEATED === 0) load.decided.push({ request: sent, answer })
      return answer && { key, answer }
    },
    read: (request) => client.decide(request),
  }
  const shared = await Promise.all(Array.from({ length: SHARED }, () => createProduct(shop, false)))
  const own = await Promise.all(Array.from({ length: SHOPPERS }, () => createProduct(shop, true)))
  const imports = runImports(shop, load.imported, seed)
  const running = Promise.all([
    ...own.map((product) => runShopper(shop, product, shared, hasHeld)),
    runCounts(shop, shared),
    imports.done,
  ])
  // `stop` throws the error.
  running.catch(() => {})
  return {
    ...load,
    openImportSince: imports.openSince,
    async stop() {
      isOpen = false
      await running
    },
  }
}

/** Adds the reference by which the ledger identifies an effect, if the operation has one. */
function withReference({ operation, body }: Omit<Request, 'key'>, key: string): object | string {
  const hasReference = operation.endsWith('/reservations') || operation.endsWith('/adjustments')
  return typeof body === 'string' ? body : { ...body, ...(hasReference && { reference: key }) }
}

let products = 0

async function createProduct({ write, checker }: Shop, isOwn: boolean): Promise<string> {
  const body = { sku: `CHAOS-${Date.now()}-${++products}`, name: 'Sold under fire', initialStock: STOCK }
  const written = await write({ operation: 'POST /v1/products', body })
  if (written?.answer.status !== 201) throw new Error(`no product could be made: ${written?.answer.text}`)
  const product = JSON.parse(written.answer.text)
  checker.acknowledged({ kind: 'create', key: written.key, body: product, isOwn })
  return product.id
}

type HasHeld = (reservationId: string) => void

/** A shopper has its own product, for which it can predict each answer, and shares other products. */
async function runShopper(shop: Shop, own: string, shared: string[], hasHeld: HasHeld): Promise<void> {
  const { random, isOpen } = shop
  const held: Reservation[] = []
  const [least, most] = PAUSE_MS
  while (isOpen()) {
    const dice = random()
    if (dice < 0.45) await hold(shop, random() < 0.5 ? [own] : twoOf(shared, random), held, hasHeld)
    else if (dice < 0.7) await end(shop, held)
    else if (dice < 0.75) await extend(shop, held)
    else if (dice < 0.9) await adjust(shop, random() < 0.6 ? own : pick(shared, random))
    else await shop.read(readOf(pick([own, ...shared], random), random))
    await sleep(least + random() * (most - least))
  }
}

async function hold(
  { write, read, checker, random }: Shop,
  productIds: string[],
  held: Reservation[],
  hasHeld: HasHeld,
): Promise<void> {
  const lines = productIds.map((productId) => ({ productId, quantity: 1 + Math.floor(random() * 3) }))
  // Some holds on shared products are left to expire. For its own product, a shopper must know exactly what is held.
  const ttlSeconds = productIds.length > 1 && random() < 0.3 ? 5 : 3_600
  const written = await write({ operation: 'POST /v1/reservations', body: { lines, ttlSeconds } })
  if (!written) return
  const { key, answer } = written
  if (answer.code === 'insufficient_stock') return checker.acknowledged({ kind: 'shortage', key, lines })
  if (answer.status !== 201) return checker.find('documented', `a reservation was answered ${answer.text}`)
  const body = JSON.parse(answer.text) as Reservation
  checker.acknowledged({ kind: 'reserve', key, body })
  hasHeld(body.id)
  held.push(body)
  if (random() < 0.5) {
    const seen = await read({ operation: 'GET /v1/reservations/{reservationId}', ids: [body.id], token: answer.token })
    if (seen) checker.read({ of: 'reservation', id: body.id, seen: parsed(seen) })
  } else if (productIds.length === 1) await readOwn({ read, checker, random }, productIds[0] ?? '', answer.token)
}

async function end({ write, read, checker, random }: Shop, held: Reservation[]): Promise<void> {
  const hold = held.splice(Math.floor(random() * held.length), 1)[0]
  if (!hold) return
  const isSold = random() < 0.6
  const lines = hold.lines.map(({ productId, quantity }) => ({ productId, quantity: Math.min(quantity, 2) }))
  const body = isSold && random() < 0.3 ? { lines } : {}
  const operation = `POST /v1/reservations/{reservationId}/${isSold ? 'confirm' : 'release'}`
  const written = await write({ operation, ids: [hold.id], body })
  if (!written) return
  const { key, answer } = written
  const { status, code = '' } = answer
  if (status === 409) return checker.acknowledged({ kind: 'not held', key, id: hold.id, code, at: Date.now() })
  if (status !== 200) return checker.find('nothing lost', `the end of ${hold.id} was answered ${answer.text}`)
  checker.acknowledged({ kind: 'end', key, body: parsed(answer) })
  const [line, ...others] = hold.lines
  if (line && others.length === 0) await readOwn({ read, checker, random }, line.productId, answer.token)
}

async function extend({ write, checker, random }: Shop, held: Reservation[]): Promise<void> {
  const hold = held[Math.floor(random() * held.length)]
  if (!hold) return
  const operation = 'POST /v1/reservations/{reservationId}/extend'
  const written = await write({ operation, ids: [hold.id], body: { ttlSeconds: 3_600 } })
  if (!written) return
  const { key, answer } = written
  if (answer.status === 200) return checker.acknowledged({ kind: 'extend', key, body: parsed(answer) })
  held.splice(held.indexOf(hold), 1)
  checker.acknowledged({ kind: 'not held', key, id: hold.id, code: answer.code ?? '', at: Date.now() })
}

async function adjust({ write, read, checker, random }: Shop, productId: string): Promise<void> {
  const quantity = Math.floor(random() * 9) - 2 || 5
  const operation = 'POST /v1/products/{productId}/stock/adjustments'
  const written = await write({ operation, ids: [productId], body: { quantity, reason: 'correction' } })
  if (!written) return
  const { key, answer } = written
  if (answer.code === 'insufficient_stock')
    return checker.acknowledged({ kind: 'shortage', key, lines: [{ productId, quantity: -quantity }] })
  if (answer.status !== 201) return checker.find('documented', `an adjustment was answered ${answer.text}`)
  const body = parsed<Movement>(answer)
  checker.acknowledged({ kind: 'adjust', key, body })
  await readOwn({ read, checker, random }, productId, answer.token, body)
}

/** Reads a product's stock in one of three ways, with the token of a write to it. */
async function readOwn(
  { read, checker, random }: Pick<Shop, 'read' | 'checker' | 'random'>,
  productId: string,
  token: string | undefined,
  after?: Movement,
): Promise<void> {
  const answer = await read({ ...readOf(productId, random), token })
  if (!answer) return
  if (answer.status !== 200) return checker.find('nothing lost', `a read of ${productId} was answered ${answer.text}`)
  const body = JSON.parse(answer.text)
  const seen = body.stock ?? body.items?.[0] ?? body
  checker.read({ of: 'stock', productId, seen, ...(after && { after }) })
}

function readOf(productId: string, random: Random): Request {
  const dice = random()
  if (dice < 0.33) return { operation: 'GET /v1/products/{productId}', ids: [productId] }
  if (dice < 0.66) return { operation: 'GET /v1/products/{productId}/stock', ids: [productId] }
  return { operation: 'POST /v1/stock/availability', body: { items: [{ productId }] } }
}

/** Counts the stock of the shared products. Each count finds one piece more or less than there was a moment ago. */
async function runCounts({ write, read, checker, random, isOpen }: Shop, shared: string[]): Promise<void> {
  while (isOpen()) {
    const productId = pick(shared, random)
    const stock = await read({ operation: 'GET /v1/products/{productId}/stock', ids: [productId] })
    const { onHand = 0 } = stock ? parsed<{ onHand?: number }>(stock) : {}
    const counts = [{ productId, counted: Math.max(0, onHand + Math.floor(random() * 3) - 1) }]
    const written = await write({ operation: 'POST /v1/stock/counts', body: { counts } })
    if (written?.answer.status === 200)
      checker.acknowledged({ kind: 'count', key: written.key, body: parsed(written.answer) })
    await sleep(COUNT_EVERY_MS)
  }
}

const pick = <Item>(items: readonly Item[], random: Random) => items[Math.floor(random() * items.length)] as Item

function twoOf(items: string[], random: Random): string[] {
  const first = pick(items, random)
  return [
    first,
    pick(
      items.filter((item) => item !== first),
      random,
    ),
  ]
}
