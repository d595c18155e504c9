import type { BenchCluster } from '../bench-cluster.ts'
import { type Contender, httpContender, transactionsContender } from '../contenders/contenders.ts'
import { startPeer } from '../contenders/peer.ts'
import { findTransactions } from '../contenders/pgbench.ts'
import { startNaive, startReserveStock } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

/** Measures reservations a second, hot and spread, of all contenders in turn. In each round, each gets a fresh copy of the same database. */
export async function measureRates(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'sellOuts' | 'note'> & { transactions: string }> {
  const recorder = createRecorder('rates', progress)
  const notes: string[] = []
  const { all, version } = await findTransactions()
  if (version === undefined) notes.push('pgbench is not installed: its part was played by the driver, without HTTP.')
  const peer = options.peer ? await startPeer(cluster, options, progress) : { skipped: '--no-peer' }
  if ('skipped' in peer) notes.push(`Medusa was left out: ${peer.skipped}`)

  for (let round = 1; round <= options.rounds; round++) {
    const database = await cluster.createDatabase(options.products)
    const own = await startReserveStock(database.url, cluster.folder)
    // A separate process: code that was compiled for requests with a key is slower for requests without.
    const keyed = await startReserveStock(database.url, cluster.folder)
    const naive = await startNaive(database.url, cluster.folder)
    const contenders: Contender[] = [
      httpContender('reserve-stock', database, [own], options),
      httpContender('reserve-stock, Idempotency-Key', database, [keyed], options, { idempotencyPrefix: 'bench' }),
      ...all.map((transactions) => transactionsContender(transactions, database, options)),
      httpContender('naive handler', database, [naive], options),
      ...('skipped' in peer ? [] : [peer]),
    ]
    for (const [scenario, isHot] of [
      ['hot', true],
      ['spread', false],
    ] as const) {
      for (const contender of rotated(contenders, round - 1)) {
        // Each contender has its own hot product, without the dead row versions of another contender.
        const hot = { first: 1 + contenders.indexOf(contender), count: 1 }
        const products = isHot ? hot : { first: 1, count: options.products }
        recorder.note(round, contender.name, scenario, await contender.measure(products))
      }
    }
    for (const contender of contenders) recorder.noteSellOut(round, contender.name, await contender.sellOut())
    await own.stop()
    await keyed.stop()
    await naive.stop()
    await database.remove()
  }
  const { series, sellOuts } = recorder
  return { series, sellOuts, note: notes.join(' '), transactions: version ?? 'driver' }
}
