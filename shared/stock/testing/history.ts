import { createHash, randomUUID } from 'node:crypto'
import { type RequestContext, systemContext } from '#database'
import type * as stockModule from '#stock'
import { type Movement, type ProductStock, type Reservation, ReserveRequest } from '#stock/schema'
import { expire, newProduct, sql, stockAt } from '#testing'

export interface Line {
  productId: string
  quantity: number
  location?: string | undefined
}

export type Request =
  | { kind: 'reserve'; lines: Line[]; cart: string | undefined; key: string | undefined }
  | { kind: 'confirm' | 'release' | 'extend' | 'expire'; id: string }
  /** All of the lines, or none. */
  | { kind: 'adjust'; lines: Array<Required<Line>> }
  | { kind: 'look'; productId: string }
  | { kind: 'sweep' }

export type Answer =
  | { code: 'reserved' | 'confirmed' | 'released' | 'extended'; reservation: Reservation }
  | { code: 'adjusted'; movements: Movement[] }
  | { code: 'seen'; stock: ProductStock }
  | { code: 'done' }
  | { code: string; shortages: unknown }

/** One call. `start` and `end` are times on a clock that ticks once at each start and at each end. */
export interface Operation {
  request: Request
  start: number
  end: number
  answer: Answer
  /** Whether the answer is that of an earlier operation with the same key. */
  isReplay: boolean
}

/** The service as several processes would offer it, with a record of all requests and answers. */
export interface Shop {
  productIds: string[]
  operations: Operation[]
  /** Every reservation that was returned to any client, and those whose deadline has been moved into the past. */
  known: string[]
  overdue: Set<string>
  ask: (instance: number, request: Request) => Promise<Answer>
  /** The ledger before the first operation. */
  sequenceBefore: number
}

export const LOCATIONS = ['main', 'back'] as const
export const STOCK_AT = { main: 6, back: 4 } as const
const API_KEY_ID = randomUUID()

/** Opens a shop of two products. `instances` are copies of the stock module, one for each simulated process. */
export async function openShop(instances: ReadonlyArray<typeof stockModule>): Promise<Shop> {
  const products = [await newProduct(), await newProduct()]
  const run = randomUUID()
  for (const { id } of products) for (const name of LOCATIONS) await stockAt(id, name, STOCK_AT[name])
  const [{ last }] = await sql<[{ last: number }]>`select max(sequence) as last from stock_movements`
  let clock = 0

  const shop: Shop = {
    productIds: products.map(({ id }) => id),
    operations: [],
    known: [],
    overdue: new Set(),
    sequenceBefore: last,
    async ask(instance, request) {
      const stock = instances[instance % instances.length]
      if (!stock) throw new Error('a shop needs an instance')
      const context = contextFor(request, run)
      const start = ++clock
      const answer = await perform(stock, request, context, run).catch(toRefusal)
      const isReplay = context.response.replayedFrom !== undefined
      shop.operations.push({ request, start, end: ++clock, answer, isReplay })
      if ('reservation' in answer && !shop.known.includes(answer.reservation.id)) shop.known.push(answer.reservation.id)
      return answer
    },
  }
  return shop
}

/** Every request of a client has a key: a shared one, or one of its own. Each gets the answer stored under its key, or is executed. */
function contextFor(request: Request, run: string): RequestContext {
  const context = systemContext('function:test')
  if (['expire', 'sweep', 'look'].includes(request.kind)) return context
  const fingerprint = createHash('sha256').update(JSON.stringify(request)).digest()
  const key = `${run} ${(request.kind === 'reserve' && request.key) || randomUUID()}`
  return {
    ...context,
    idempotency: { apiKeyId: API_KEY_ID, key, fingerprint, requestId: randomUUID() },
  }
}

async function perform(
  stock: typeof stockModule,
  request: Request,
  context: RequestContext,
  run: string,
): Promise<Answer> {
  switch (request.kind) {
    case 'reserve': {
      const name = request.cart === undefined ? {} : { holder: run, reference: request.cart }
      const parsed = ReserveRequest.parse({ lines: request.lines, ...name })
      return { code: 'reserved', reservation: await stock.reserve(parsed, context) }
    }
    case 'confirm':
      return { code: 'confirmed', reservation: await stock.confirm(request.id, {}, context) }
    case 'release':
      return { code: 'released', reservation: await stock.release(request.id, context) }
    case 'extend':
      return { code: 'extended', reservation: await stock.extend(request.id, { ttlSeconds: 600 }, context) }
    case 'adjust': {
      const [first, ...others] = request.lines.map((line) => ({ ...line, reason: 'correction' as const }))
      if (!first || others.length > 0) {
        const adjustments = first ? [first, ...others] : []
        return { code: 'adjusted', movements: await stock.adjustStocks({ adjustments }, context) }
      }
      const { productId, ...adjustment } = first
      return { code: 'adjusted', movements: [await stock.adjustStock(productId, adjustment, context)] }
    }
    case 'look':
      return { code: 'seen', stock: await stock.getStock(request.productId, context) }
    case 'expire':
      await expire(request.id)
      return { code: 'done' }
    case 'sweep':
      await stock.sweepReservations(context)
      return { code: 'done' }
  }
}

function toRefusal(error: { code?: string; extra?: { shortages?: unknown } }): Answer {
  if (error.code === undefined) throw error
  return { code: error.code, shortages: error.extra?.shortages }
}
