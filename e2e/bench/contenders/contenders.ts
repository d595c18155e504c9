import { addProduct } from '../catalogue.ts'
import { countByActor, countInconsistent, countMissing, countSold } from '../checks.ts'
import { type Job, runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import type { Measurement, SellOut } from '../report/measurement.ts'
import { API_KEY, type Arena } from '../site.ts'
import { PGBENCH_CLIENTS, type Transactions } from './pgbench.ts'

export interface Contender {
  name: string
  /** Reserves one piece at a time of products chosen at random among these, by number. */
  measure(products: Job['products']): Promise<Measurement>
  /** Sells a product of few pieces to many at once. */
  sellOut(): Promise<SellOut>
}

interface HttpContender extends Contender {
  /** `only` is for this one load. */
  measure(products: Job['products'], only?: Partial<Job>): Promise<Measurement>
}

interface Run extends Pick<Options, 'connections' | 'seconds' | 'warmSeconds'> {
  /** False where an audit takes minutes: it is for the caller then, once. */
  audit?: boolean
}

/** Pieces of the product that is sold out, and requests for them: every server has answered all of them within seconds. */
export const PIECES = 200
export const BUYERS = 400

/** Products that are added for sell-outs, beyond those that a load may choose. */
let added = 0
export async function addScarce(arena: Arena, pieces: number): Promise<number> {
  const number = arena.products + ++added
  await addProduct(arena.sql, number, pieces)
  return number
}

/** A server that speaks the service's reservation request, and writes to the service's tables. */
export function httpContender(
  name: string,
  arena: Arena,
  ports: number[],
  { audit = true, ...run }: Run,
  more: Partial<Job> = {},
): HttpContender {
  let runs = 0
  const job = (products: Job['products']): Job => ({
    ports,
    path: '/v1/reservations',
    headers: { authorization: `Bearer ${API_KEY}` },
    expectedStatus: 201,
    ...run,
    ...more,
    ...(more.idempotencyPrefix === undefined ? {} : { idempotencyPrefix: `${more.idempotencyPrefix}-${++runs}` }),
    products,
  })
  return {
    name,
    async measure(products, only: Partial<Job> = {}) {
      await arena.sql.unsafe('checkpoint')
      const { acknowledged, ...rest } = await runLoad({ ...job(products), ...only })
      const lost = await countMissing(arena, acknowledged)
      const checked = audit ? { inconsistent: await countInconsistent(arena) } : {}
      return { ...rest, acknowledged: acknowledged.length, lost, ...checked }
    },
    async sellOut() {
      const number = await addScarce(arena, PIECES)
      await runLoad({ ...job({ first: number, count: 1 }), warmSeconds: 0, seconds: 60, requestsMax: BUYERS })
      return { pieces: PIECES, sold: await countSold(arena, number) }
    },
  }
}

/** A client of the database itself: no HTTP between. */
export function transactionsContender(transactions: Transactions, arena: Arena, run: Run): Contender {
  const { name, actor } = transactions
  return {
    name,
    async measure(products) {
      await arena.sql.unsafe('checkpoint')
      const before = await countByActor(arena, actor)
      const warm = await transactions.run(arena.url, products, { seconds: run.warmSeconds })
      const { count, perSecond } = await transactions.run(arena.url, products, { seconds: run.seconds })
      const acknowledged = warm.count + count
      const lost = Math.max(0, acknowledged - ((await countByActor(arena, actor)) - before))
      const answers = { committed: acknowledged }
      return { perSecond, answers, acknowledged, lost, inconsistent: await countInconsistent(arena) }
    },
    async sellOut() {
      const number = await addScarce(arena, PIECES)
      const each = Math.ceil(BUYERS / PGBENCH_CLIENTS)
      await transactions.run(arena.url, { first: number, count: 1 }, { transactionsEach: each })
      return { pieces: PIECES, sold: await countSold(arena, number) }
    },
  }
}
