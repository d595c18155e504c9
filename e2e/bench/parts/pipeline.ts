import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { startKafka } from '../../../infra/local/engines/kafka.ts'
import type { BenchCluster } from '../bench-cluster.ts'
import { closeLater } from '../closing.ts'
import { httpContender } from '../contenders/contenders.ts'
import { type RunningServer, startFunction, startSaleServer } from '../contenders/servers.ts'
import { median } from '../load/statistics.ts'
import type { Options } from '../options.ts'
import type { Measurement } from '../report/measurement.ts'
import type { Section } from '../report/results.ts'
import { createRecorder } from '../report/rounds.ts'

/** The stages after a sale: the relay to Kafka, and the two consumers of its events. */
const STAGES = ['publish-events', 'detect-low-stock', 'notify-webhooks'] as const

/** The function that reports how far the stages are behind, every five seconds. */
const MEASURE = 'measure-backlog'

/** How long the stages must keep up with a rate. */
const SECONDS = 60
const confirmed = { confirmPercent: 100, releasePercent: 0, extendAndConfirmPercent: 0 }

/** The shares of the front's own rate that are tried, the highest first. The last is measured whatever its result. */
const SHARES = [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]

/**
 * Measures the sales a second that all stages keep up with for a minute, with a process for each stage, on Kafka. Also measures the sales
 * that the front accepts while no stage runs. The next round begins with the highest share that the stages kept up with.
 */
export async function measurePipeline(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('pipeline', progress)
  const kafka = await startKafka({}, progress)
  closeLater(kafka.stop)
  let shares = SHARES
  for (let round = 1; round <= options.rounds; round++) {
    const database = await cluster.createDatabase(options.products)
    const front = await startSaleServer(database.url, cluster.folder)
    const all = { first: 1, count: options.products }
    const sales = httpContender('front', database, [front], options, { ending: confirmed })
    const alone = await sales.measure(all)
    recorder.note(round, 'front alone', 'sales', alone)
    const eventsUrl = `${kafka.url}?prefix=${randomUUID()}.`
    const stages = []
    for (const name of [...STAGES, MEASURE]) {
      stages.push(await startFunction(name, database.url, cluster.folder, { EVENTS_URL: eventsUrl }))
    }
    const measure = stages.at(-1) as RunningServer
    for (const share of shares) {
      await caughtUp(measure)
      const ratePerSecond = alone.perSecond * share
      const watching = watch(measure)
      const load = await sales.measure(all, { ratePerSecond, seconds: SECONDS }).catch((error: Error) => error)
      const behindEachSecond = await watching.stop()
      // If the rate is too high, answers are still missing long after its end.
      const isKept = !(load instanceof Error) && isKeptUp(load, ratePerSecond, behindEachSecond)
      progress(`pipeline: ${share} of what the front alone takes was ${isKept ? '' : 'not '}kept up with`)
      if (!isKept && share !== shares.at(-1)) continue
      if (load instanceof Error) throw load
      const kept = isKept ? load.perSecond : 0
      recorder.note(round, 'all stages', 'sales', {
        ...load,
        perSecond: kept,
        arrivalsPerSecond: ratePerSecond,
        behindEachSecond,
      })
      shares = SHARES.slice(Math.max(0, SHARES.indexOf(share) - 1))
      break
    }
    for (const stage of [...stages, front]) await stage.stop()
    await database.remove()
  }
  await kafka.stop()
  return {
    series: recorder.series,
    note: `Kept up with: all sales answered, and events no older in the last quarter of ${SECONDS} s than in the second, or than a second.`,
  }
}

/** Whether the arrivals were served, and the events at the end of the load were consumed as quickly as those at its beginning. */
function isKeptUp(load: Measurement, ratePerSecond: number, behindEachSecond: readonly number[]): boolean {
  const quarter = Math.floor(behindEachSecond.length / 4)
  const early = median(behindEachSecond.slice(quarter, 2 * quarter))
  const late = median(behindEachSecond.slice(-quarter))
  return load.perSecond >= 0.97 * ratePerSecond && (load.unexpected ?? 0) === 0 && late <= Math.max(1, early)
}

/** Records each second how old the oldest event is that some stage has not yet published or consumed. */
function watch(measure: RunningServer) {
  const ages: number[] = []
  const stopping = new AbortController()
  const noting = (async () => {
    while (!stopping.signal.aborted) {
      ages.push(await secondsBehind(measure))
      await sleep(1_000, undefined, { signal: stopping.signal }).catch(() => {})
    }
  })()
  // The caller that stops it gets the error. Until then, the error must not end the process, which has servers to stop.
  noting.catch(() => {})
  return {
    async stop() {
      stopping.abort()
      await noting
      return ages
    },
  }
}

async function secondsBehind({ port }: RunningServer): Promise<number> {
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const ages = metrics.matchAll(/^(?:outbox_oldest_age_seconds|stream_lag_seconds\{.*\}) (\S+)$/gm)
  const seconds = Array.from(ages, ([, value]) => Number(value))
  // Before the first measurement there are no values.
  return seconds.length === 0 ? Number.POSITIVE_INFINITY : Math.max(...seconds)
}

const CATCH_UP_MS = 120_000

/** Waits until nothing is left to publish or consume. Throws if that takes longer than two minutes. */
async function caughtUp(measure: RunningServer): Promise<void> {
  const deadline = performance.now() + CATCH_UP_MS
  while ((await secondsBehind(measure)) > 0) {
    if (performance.now() > deadline) throw new Error('the stages have not caught up')
    await sleep(500)
  }
}
