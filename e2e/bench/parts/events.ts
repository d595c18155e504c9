import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { overrideEnvironment } from '#config'
import { follow } from '#events'
import { startKafka } from '../../../infra/local/engines/kafka.ts'
import { API_KEY, type BenchCluster, type BenchDatabase, useDatabase } from '../bench-cluster.ts'
import { closeLater } from '../closing.ts'
import { type RunningServer, startContender, startFunction, startReserveStock } from '../contenders/servers.ts'
import { runLoad } from '../load/load.ts'
import { quantile } from '../load/statistics.ts'
import type { Options } from '../options.ts'
import type { Measurement } from '../report/measurement.ts'
import type { Section } from '../report/results.ts'
import { createRecorder } from '../report/rounds.ts'

/** A backlog of some seconds, with events like those of a reservation. */
const BACKLOG = 100_000
const BACKLOG_PRODUCTS = 5_000
const RESERVATIONS_PER_SECOND = 2_000
/** Long enough to distinguish the smallest share of a core from none. */
const IDLE_MS = 10_000

/**
 * Measures events a second from the outbox to Kafka, how old an event is when it reaches a consumer at 2,000 reservations a second, and
 * what share of a core an idle consumer uses, with the timers of KafkaJS and without.
 */
export async function measureEvents(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('events', progress)
  const kafka = await startKafka({}, progress)
  closeLater(kafka.stop)
  for (let round = 1; round <= options.rounds; round++) {
    const database = await cluster.createDatabase(options.products)
    const settings = { EVENTS_URL: `${kafka.url}?prefix=${randomUUID()}.` }
    const relay = await startFunction('publish-events', database.url, cluster.folder, settings)
    recorder.note(round, 'publish-events', 'backlog', await drain(database))
    recorder.note(round, 'follower', 'lag', await measureLag(database, cluster, settings.EVENTS_URL, options))
    await relay.stop()
    const idle = { EVENTS_URL: `${kafka.url}?prefix=${randomUUID()}.` }
    // First, because it creates the topics.
    const consumer = await startFunction('detect-low-stock', database.url, cluster.folder, idle)
    recorder.note(round, 'detect-low-stock', 'idle', await idleCpu(consumer))
    for (const [name, patched] of [
      ['KafkaJS as it is', '0'],
      ['KafkaJS without idle timers', '1'],
    ] as const) {
      const server = await startContender('idle-consumer', database.url, cluster.folder, { ...idle, PATCHED: patched })
      recorder.note(round, name, 'idle', await idleCpu(server))
    }
    await database.remove()
  }
  await kafka.stop()
  return {
    series: recorder.series,
    note: 'Kafka is one broker on the same machine, in memory for the most part: it does not wait for the disk.',
  }
}

/** Measures how fast a running relay empties the outbox, starting with the commit that fills it. */
async function drain({ sql }: BenchDatabase): Promise<Measurement> {
  const data = {
    productId: randomUUID(),
    version: 12_345,
    location: 'main',
    onHandDelta: 0,
    reservedDelta: 1,
    stock: { onHand: 1_000, reserved: 200, available: 800 },
    reservationId: randomUUID(),
    reason: null,
    reference: 'cart-12345',
  }
  const fill = (events: number) => sql`
    insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
    select gen_random_uuid(), 'stock-events', 'stock.reserved', md5((number % ${BACKLOG_PRODUCTS}::int)::text)::uuid, number,
           ${JSON.stringify(data)}::text::json, now(), '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    from generate_series(1, ${events}::int) as number`
  const isEmpty = async () => (await sql`select 1 from outbox limit 1`).length === 0
  // Makes the relay connect and create its topics.
  await fill(1_000)
  while (!(await isEmpty())) await sleep(20)
  await fill(BACKLOG)
  const startedAt = performance.now()
  while (!(await isEmpty())) await sleep(20)
  const perSecond = BACKLOG / ((performance.now() - startedAt) / 1_000)
  return { perSecond, answers: {}, acknowledged: 0, lost: 0 }
}

/** A consumer that has just joined its group first catches up with some seconds of events. */
const LAG_WARM_SECONDS = 8

/** Measures from the beginning of a reservation's transaction, which is the event's time, to a consumer in a process other than the relay. */
async function measureLag(
  database: BenchDatabase,
  cluster: BenchCluster,
  eventsUrl: string,
  options: Options,
): Promise<Measurement> {
  await useDatabase(database.url)
  overrideEnvironment({ EVENTS_URL: eventsUrl })
  const lags: number[] = []
  const warmSeconds = Math.max(options.warmSeconds, LAG_WARM_SECONDS)
  const server = await startReserveStock(database.url, cluster.folder)
  const startedAt = Date.now()
  const following = follow({
    topics: ['stock-events'],
    group: 'lag',
    types: ['stock.reserved'],
    deliver: async ({ occurredAt }) => {
      // Earlier events and the warm-up are not measured.
      if (occurredAt.getTime() >= startedAt + 1_000 * warmSeconds) lags.push(Date.now() - occurredAt.getTime())
      return { verdict: 'acknowledge' }
    },
  })
  const { acknowledged, ...load } = await runLoad({
    ports: [server.port],
    path: '/v1/reservations',
    headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
    connections: options.connections,
    products: { first: 1, count: options.products },
    warmSeconds,
    seconds: options.seconds,
    expectedStatus: 201,
    ratePerSecond: RESERVATIONS_PER_SECOND,
  })
  await server.stop()
  while ((await database.sql`select 1 from outbox limit 1`).length > 0) await sleep(20)
  await following.stop()
  overrideEnvironment({ EVENTS_URL: undefined })
  lags.sort((a, b) => a - b)
  return {
    ...load,
    p50Ms: quantile(lags, 0.5),
    p99Ms: quantile(lags, 0.99),
    maxMs: lags.at(-1) ?? Number.NaN,
    arrivalsPerSecond: RESERVATIONS_PER_SECOND,
    acknowledged: acknowledged.length,
    lost: 0,
  }
}

/** Measures the share of a core that a consumer uses while there is nothing to consume. */
async function idleCpu({ port, stop }: RunningServer): Promise<Measurement> {
  const cpuSeconds = async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    return Number(/^process_cpu_seconds_total (\S+)$/m.exec(metrics)?.[1])
  }
  // By then, the consumer has started, joined its group and compiled its code.
  await sleep(IDLE_MS / 2)
  const before = await cpuSeconds()
  await sleep(IDLE_MS)
  const cpuPercent = (100 * ((await cpuSeconds()) - before)) / (IDLE_MS / 1_000)
  await stop()
  return { perSecond: 0, cpuPercent, answers: {}, acknowledged: 0, lost: 0 }
}
