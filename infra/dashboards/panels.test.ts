import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { answerScrape } from '#telemetry'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { inRedis, redisUrl } from '#testing/redis'
import { startOwnStack } from '../../e2e/own-stack.ts'
import { backupTypes } from '../backup/repository/repository.ts'
import { expectRepositories, seen } from '../backup/service/metrics.ts'
import { type RunningProgram, startPostgresExporter, startPrometheus } from '../local/engines/prometheus.ts'
import { startRabbit } from '../local/engines/rabbitmq.ts'
import { openReceiver } from '../testing/support/http/receiver.ts'
import { boards } from './index.ts'
import { makeLoad } from './testing/load.ts'
import { whyMissing } from './testing/prometheus.ts'
import { withInterval } from './testing/queries.ts'

// Asks every panel's queries of a Prometheus that has scraped the whole service under load, and the metrics of a backup repository.

const RULES = new URL('../docker/prometheus/rules/', import.meta.url)
/** One scrape a second; the rates of panels are over ten seconds. */
const LOAD_MS = 25_000
const START_MS_MAX = 180_000
/** Panels that may be empty if all is well, but are not empty under this load. */
const MADE_BY_LOAD = ['Refused reservations', 'Deliveries by outcome', 'Time of a delivery', 'Security events']

const missing =
  (await whyMissing('prometheus', 'prometheus-postgres-exporter', 'rabbitmq-server')) ??
  ([redisUrl, kafkaUrl].includes(undefined) ? `${inRedis}, ${inKafka}` : undefined)

describe.skipIf(missing !== undefined)(missing ? `panels (skipped: ${missing})` : 'panels', () => {
  const stopping: Array<() => Promise<unknown>> = []
  let prometheus: RunningProgram

  beforeAll(async () => {
    // A separate RabbitMQ, which serves metrics.
    const rabbit = await startRabbit({ withMetrics: true })
    stopping.push(rabbit.stop)
    const settings = {
      CACHE_URL: redisUrl,
      EVENTS_URL: kafkaUrl,
      JOBS_URL: rabbit.url,
      WEBHOOK_ALLOW_PRIVATE: '1',
      LOG_LEVEL: 'warn',
    }
    const stack = await startOwnStack(AbortSignal.timeout(START_MS_MAX), settings)
    stopping.push(stack.stop)
    const receiver = await openReceiver()
    stopping.push(receiver.close)
    const exporter = await startPostgresExporter(stack.databaseUrl)
    stopping.push(exporter.stop)
    const rules = await quickRules()
    stopping.push(() => rm(rules, { recursive: true, force: true }))
    const backups = await serveBackups()
    stopping.push(backups.stop)
    prometheus = await startPrometheus(
      configurationOf(rules, {
        stock: stack.metricsUrl,
        postgres: exporter.url,
        rabbitmq: rabbit.metricsUrl ?? '',
        backup: backups.url,
      }),
    )
    stopping.push(prometheus.stop)
    await makeLoad(stack, receiver, AbortSignal.timeout(LOAD_MS))
    await sleep(2_000)
  }, START_MS_MAX)

  afterAll(async () => {
    for (const stop of stopping.reverse()) await stop()
  }, 60_000)

  const panels = boards.flatMap(({ title, rows }) =>
    rows.flatMap((row) =>
      row.panels.flatMap((panel) =>
        Object.entries(panel.lines).map(([legend, query]) => ({ ...panel, board: title, legend, query })),
      ),
    ),
  )

  it('has the panels that the load is to fill', () => {
    expect(panels.map(({ title }) => title)).toEqual(expect.arrayContaining(MADE_BY_LOAD))
  })

  it.each(panels)('$board: $title, $legend', async ({ title, query, emptyUntil }) => {
    const url = new URL('/api/v1/query', prometheus.url)
    url.searchParams.set('query', withInterval(query, '10s'))
    const answer = (await (await fetch(url)).json()) as Answer
    expect(answer).toMatchObject({ status: 'success' })
    const values = answer.data.result.map(({ value: [, value] }) => Number(value))
    if (emptyUntil === undefined) expect(values.filter((value) => !Number.isNaN(value))).not.toEqual([])
    if (MADE_BY_LOAD.includes(title)) expect(Math.max(...values)).toBeGreaterThan(0)
  })
})

interface Answer {
  status: string
  data: { result: Array<{ value: [number, string] }> }
}

/** Serves the metrics of the backup process, as if it had made one backup of each type. */
async function serveBackups(): Promise<{ url: string; stop: () => Promise<void> }> {
  const endedAt = new Date()
  const startedAt = new Date(endedAt.getTime() - 60_000)
  const sizes = { clusterBytes: 2e9, storedBytes: 5e8, hasErrors: false, archiveStart: '', archiveStop: '' }
  const backups = backupTypes.map((type) => ({ name: type, type, startedAt, endedAt, ...sizes }))
  expectRepositories([1])
  seen.repositories.set(1, { backups, gapSegments: 0, newestGap: '' })
  const server = createServer((req, res) => void answerScrape(req, res)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const stop = async () => void server.close()
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stop }
}

/** Makes a folder with the rules, all evaluated every second: a slow rule would otherwise be evaluated only after five minutes. */
async function quickRules(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-rules-'))
  for (const file of await readdir(RULES)) {
    const text = await readFile(new URL(file, RULES), 'utf8')
    await writeFile(join(folder, file), text.replaceAll(/interval: \w+/g, 'interval: 1s'))
  }
  return folder
}

/** `targets` maps the names of jobs to their URLs. */
function configurationOf(rules: string, targets: Record<string, string>): string {
  return stringify({
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [join(rules, '*.yml')],
    scrape_configs: Object.entries(targets).map(([name, url]) => ({
      job_name: name,
      static_configs: [{ targets: [new URL(url).host], ...(name === 'stock' && { labels: { service: name } }) }],
    })),
  })
}
