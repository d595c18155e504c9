import { statfs } from 'node:fs/promises'
import type { BenchCluster, BenchDatabase } from '../bench-cluster.ts'
import { countInconsistent } from '../checks.ts'
import { httpContender } from '../contenders/contenders.ts'
import { startReserveStock } from '../contenders/servers.ts'
import { MOVEMENTS_A_PRODUCT } from '../dataset.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'
import { measurePages } from './pages.ts'

/** A million products are 6 GB, and the WAL in addition grows to 1 GB and more. */
export const BYTES_A_PRODUCT = 12_000

/**
 * With 6 GB of data and the default of 128 MB, the benchmark would measure how fast pages move between the server's memory and the
 * operating system's. With a checkpoint every 1 GB, each changed page would be logged completely again and again.
 */
export const LARGE_SERVER = { settings: { shared_buffers: '2GB', max_wal_size: '8GB' } }

/** Compares the spread load over many products and a long ledger with the same load over few. */
export async function measureLarge(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('large', progress)
  const { bavail, bsize } = await statfs(cluster.folder)
  const needed = options.largeProducts * BYTES_A_PRODUCT
  if (bavail * bsize < needed) {
    const note = `Left out: it needs ${Math.ceil(needed / 1e9)} GB of disk, and ${Math.floor((bavail * bsize) / 1e9)} GB are free.`
    progress(note)
    return { series: [], note }
  }
  const startedAt = performance.now()
  const many = await cluster.createLargeDatabase(options.largeProducts)
  const generatedIn = ((performance.now() - startedAt) / 1_000).toFixed(0)
  const few = await cluster.createDatabase(options.products)
  const note = `${sizeOf(many)}, generated in ${generatedIn} s, against ${sizeOf(few)}.`
  progress(note)
  await measurePages(many, cluster, options, recorder)
  const servers = [await startReserveStock(many.url, cluster.folder), await startReserveStock(few.url, cluster.folder)]
  const contenders = [many, few].map((database, index) => ({
    products: { first: 1, count: database.products },
    scenario: index === 0 ? 'many products' : 'few products',
    ...httpContender('reserve-stock', database, servers.slice(index, index + 1), { ...options, audit: false }),
  }))
  for (let round = 1; round <= options.rounds; round++) {
    for (const { name, scenario, products, measure } of rotated(contenders, round - 1)) {
      recorder.note(round, name, scenario, await measure(products))
    }
  }
  for (const { stop } of servers) await stop()
  for (const [index, database] of [many, few].entries()) {
    progress(`large: auditing ${sizeOf(database)}`)
    const inconsistent = await countInconsistent(database)
    const own = recorder.series.find(({ scenario }) => scenario === contenders[index]?.scenario)
    const last = own?.measurements.at(-1)
    if (last) last.inconsistent = inconsistent
  }
  await many.remove()
  await few.remove()
  return { series: recorder.series, note }
}

const sizeOf = ({ products }: BenchDatabase) =>
  `${products.toLocaleString('en')} products with ${(products * MOVEMENTS_A_PRODUCT).toLocaleString('en')} ledger rows`
