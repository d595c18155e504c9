import { API_KEY, type BenchDatabase } from '../bench-cluster.ts'
import { countByActor, countInconsistent, countMissing, countSold } from '../checks.ts'
import { withCosts } from '../costs.ts'
import { addProduct } from '../dataset.ts'
import { type Job, type LoadResult, runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import type { Measurement, SellOut } from '../report/measurement.ts'
import { PGBENCH_CLIENTS, type Transactions } from './pgbench.ts'
import type { RunningServer } from './servers.ts'

export interface Contender {
  name: string
  /** Reserves one piece at a time of products that are chosen at random from these numbers. */
  measure(products: Job['products']): Promise<Measurement>
  /** Sells a product with few pieces to many clients at once. */
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

/** The number of pieces of the product to sell out, and of requests for them: every server answers all of them within seconds. */
export const PIECES = 200
export const BUYERS = 400

/** The number of products added for sell-outs. Their numbers follow those that a load may choose. */
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
  servers: RunningServer[],
  { audit = true, ...run }: Run,
  more: Partial<Job> = {},
): HttpContender {
  let runs = 0
  const job = (products: Job['products']): Job => ({
    ports: servers.map(({ port }) => port),
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
      const load = () => runLoad({ ...job(products), ...only })
      const pids = servers.map(({ pid }) => pid)
      const { result, costs } = await withCosts(database, pids, load, operationsOf)
      const { acknowledged, ...rest } = result
      if (rest.perSecond === 0)
        throw new Error(`${name} did nothing that was expected: ${JSON.stringify(rest.answers)}`)
      const lost = await countMissing(database, acknowledged, more.body ? 'moved' : more.ending ? 'confirmed' : 'held')
      const checked = audit ? { inconsistent: await countInconsistent(database) } : {}
      return { ...rest, ...costs, acknowledged: acknowledged.length, lost, ...checked }
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
  const { name, actor, movements } = transactions
  return {
    name,
    async measure(products) {
      await database.sql.unsafe('checkpoint')
      const before = await countByActor(database, actor)
      const warm = await transactions.run(database.url, products, { seconds: run.warmSeconds })
      const work = () => transactions.run(database.url, products, { seconds: run.seconds })
      const { result, costs } = await withCosts(database, [], work, ({ count }) => count)
      const { count, perSecond } = result
      const acknowledged = warm.count + count
      const lost = Math.max(0, acknowledged - ((await countByActor(database, actor)) - before) / movements)
      const answers = { committed: acknowledged }
      return { perSecond, ...costs, answers, acknowledged, lost, inconsistent: await countInconsistent(database) }
    },
    async sellOut() {
      const number = await addScarce(database, PIECES)
      const each = Math.ceil(BUYERS / PGBENCH_CLIENTS)
      await transactions.run(database.url, { first: number, count: 1 }, { transactionsEach: each })
      return { pieces: PIECES, sold: await countSold(database, number) }
    },
  }
}

const operationsOf = ({ answers }: LoadResult) => Object.values(answers).reduce((sum, count) => sum + count, 0)
