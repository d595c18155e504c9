import { API_KEY, type BenchCluster, type BenchDatabase } from '../bench-cluster.ts'
import { startFunction } from '../contenders/servers.ts'
import { runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import { type createRecorder, rotated } from '../report/rounds.ts'

const PAGE_SIZE = 50
const PAGE = 10_000
/** The number of parallel readers: few, because the cost of a page counts, not the throughput. */
const CONNECTIONS = 2

/** Compares the first page of the catalogue with the ten thousandth, by cursor, both from the database. */
export async function measurePages(
  database: BenchDatabase,
  cluster: BenchCluster,
  options: Options,
  recorder: ReturnType<typeof createRecorder>,
): Promise<void> {
  const server = await startFunction('list-products', database.url, cluster.folder)
  const first = `/v1/products?limit=${PAGE_SIZE}`
  const scenarios = [
    { scenario: 'page 1', path: first },
    { scenario: `page ${PAGE}`, path: `${first}&cursor=${await cursorOf(database, (PAGE - 1) * PAGE_SIZE)}` },
  ]
  for (let round = 1; round <= options.rounds; round++) {
    for (const { scenario, path } of rotated(scenarios, round - 1)) {
      const { acknowledged, ...result } = await runLoad({
        ports: [server.port],
        method: 'GET',
        path,
        headers: { authorization: `Bearer ${API_KEY}` },
        connections: CONNECTIONS,
        products: { first: 1, count: 1 },
        warmSeconds: options.warmSeconds,
        seconds: options.seconds,
        expectedStatus: 200,
      })
      recorder.note(round, 'list-products', scenario, { ...result, acknowledged: acknowledged.length, lost: 0 })
    }
  }
  await server.stop()
}

/** Returns the cursor after `skipped` products, like `nextCursor` of their last page. Paging there would take half a minute. */
async function cursorOf({ sql }: BenchDatabase, skipped: number): Promise<string> {
  const [row] = await sql<[{ createdAt: Date; id: string }]>`
    select created_at as "createdAt", id from products where deleted_at is null
    order by created_at, id offset ${skipped - 1} limit 1`
  const keys = [row.createdAt.toISOString(), row.id]
  return Buffer.from(JSON.stringify(['products createdAt', keys])).toString('base64url')
}
