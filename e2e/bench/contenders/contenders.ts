import { API_KEY, type BenchDatabase } from '../bench-cluster.ts'
import { countByActor, countInconsistent, countMissing, countSold } from '../checks.ts'
import { addProduct } from '../dataset.ts'
import { type Job, runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import type { Measurement, SellOut } from '../report/measurement.ts'
import { PGBENCH_CLIENTS, type Transactions } from './pgbench.ts'

export interface Contender {
  name: string
  /** Reserves one piece at a time of products chosen at random among these, by number. */
  measure(products: Job['products']): Promise<Measurement>
  /** Sells a product of few pieces to many at once. */
  sellOut(): Promise<SellOut>
}

interface HttpContender extends Contender {
  /** `only` replaces parts of the job for this one load. */
  measure(products: Job['products'], only?: Partial<Job>): Promise<Measurement>
}

interface Run extends Pick<Options, 'connections' | 'seconds' | 'warmSeconds'> {
  /** False where an audit takes minutes: the part then runs it once. */
  audit?: boolean
}

/** Pieces of the product that is sold out, and requests for them: every server answers all of them within seconds. */
export const PIECES = 200
export const BUYERS = 400

/** Products that are added for sell-outs, numbered after those that a load may choose. */
let added = 0
export async function addScarce(database: BenchDatabase, pieces: number): Promise<number> {
  const number = database.products + ++added
  await addProduct(database.sql, number, pieces)
  return number
}

/** A server that speaks the service's reservation request, and writes to the service's tables. */
export function httpContender(
  name: string,
  database: BenchDatabase,
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
      await database.sql.unsafe('checkpoint')
      const { acknowledged, ...rest } = await runLoad({ ...job(products), ...only })
      const lost = await countMissing(database, acknowledged)
      const checked = audit ? { inconsistent: await countInconsistent(database) } : {}
      return { ...rest, acknowledged: acknowledged.length, lost, ...checked }
    },
    async sellOut() {
      const number = await addScarce(database, PIECES)
      await runLoad({ ...job({ first: number, count: 1 }), warmSeconds: 0, seconds: 60, requestsMax: BUYERS })
      return { pieces: PIECES, sold: await countSold(database, number) }
    },
  }
}

/** A client of the database itself, without HTTP. */
export function transactionsContender(transactions: Transactions, database: BenchDatabase, run: Run): Contender {
  const { name, actor } = transactions
  return {
    name,
    async measure(products) {
      await database.sql.unsafe('checkpoint')
      const before = await countByActor(database, actor)
      const warm = await transactions.run(database.url, products, { seconds: run.warmSeconds })
      const { count, perSecond } = await transactions.run(database.url, products, { seconds: run.seconds })
      const acknowledged = warm.count + count
      const lost = Math.max(0, acknowledged - ((await countByActor(database, actor)) - before))
      const answers = { committed: acknowledged }
      return { perSecond, answers, acknowledged, lost, inconsistent: await countInconsistent(database) }
    },
    async sellOut() {
      const number = await addScarce(database, PIECES)
      const each = Math.ceil(BUYERS / PGBENCH_CLIENTS)
      await transactions.run(database.url, { first: number, count: 1 }, { transactionsEach: each })
      return { pieces: PIECES, sold: await countSold(database, number) }
    },
  }
}
