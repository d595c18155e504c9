import type { BenchCluster } from '../bench-cluster.ts'
import { type Contender, httpContender, transactionsContender } from '../contenders/contenders.ts'
import { startPeer } from '../contenders/peer.ts'
import { findTransactions } from '../contenders/pgbench.ts'
import { startNaive, startReserveStock } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

/** Reservations a second, hot and spread, of everyone in turn, each in a fresh copy of the same database a round. */
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
    // A process of its own: code that is compiled for requests with a key is slower for those without.
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
        // Each contender has a hot product of its own, without another's dead row versions.
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
