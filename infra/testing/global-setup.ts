import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { ensureKafka, startKafka } from '../local/engines/kafka.ts'
import { ensureRabbit, startRabbit } from '../local/engines/rabbitmq.ts'
import { ensureRedis, startRedis } from '../local/engines/redis.ts'
import { startCluster } from '../local/postgres/cluster.ts'

declare module 'vitest' {
  interface ProvidedContext {
    serverUrl: string
    /** Undefined where there is no Redis: what needs it is skipped. */
    redisUrl: string | undefined
    /** The same, of Kafka and of RabbitMQ. */
    kafkaUrl: string | undefined
    rabbitUrl: string | undefined
  }
}

/**
 * One real PostgreSQL for the whole run, with a migrated template that each test file gets a copy of; one real Redis, Kafka
 * and RabbitMQ. They start side by side; where one does not, those that do are stopped again.
 */
export default async function setup(project: TestProject) {
  const starting = [startDatabase(), findRedis(), findKafka(), findRabbit()] as const
  const stop = async () => {
    const settled = await Promise.allSettled(starting)
    await Promise.all(settled.map((engine) => engine.status === 'fulfilled' && engine.value?.stop()))
  }
  try {
    const [database, redis, kafka, rabbit] = await Promise.all(starting)
    project.provide('serverUrl', database.url)
    project.provide('redisUrl', redis?.url)
    project.provide('kafkaUrl', kafka?.url)
    project.provide('rabbitUrl', rabbit?.url)
    return stop
  } catch (error) {
    await stop()
    throw error
  }
}

interface Engine {
  url: string
  stop: () => Promise<void>
}

async function startDatabase(): Promise<Engine> {
  const dataDir = await mkdtemp(join(tmpdir(), 'stock-test-'))
  // Nothing here outlives the run, and a killed process loses nothing that it wrote: fsync only guards against power cuts.
  const cluster = await startCluster({ dataDir, replica: false, fsync: false })
  const templateUrl = new URL(cluster.primaryUrl)
  templateUrl.pathname = '/template_stock'
  const admin = postgres(cluster.primaryUrl, { max: 1, onnotice: () => {} })
  await admin`create database template_stock`
  await admin.end()
  overrideEnvironment({ DATABASE_URL: templateUrl.href })
  await migrate()
  await closeDatabase()
  const stop = async () => {
    await cluster.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
  return { url: cluster.primaryUrl, stop }
}

const findRedis = () =>
  find('redis', process.env.TEST_REDIS_URL, async (say) => {
    const version = await ensureRedis(say)
    const started = await startRedis()
    return { ...started, description: `${started.description}, version ${version}` }
  })

const findKafka = () =>
  find('kafka', process.env.TEST_KAFKA_URL, async (say) => {
    await ensureKafka(say)
    return startKafka({}, say)
  })

const findRabbit = () =>
  find('rabbitmq', process.env.TEST_RABBIT_URL, async (say) => {
    await ensureRabbit(say)
    return startRabbit()
  })

/** The engine at `given`, or one that is started. A line says which; without any, what needs it is skipped, but not in CI. */
async function find(
  name: string,
  given: string | undefined,
  start: (say: (line: string) => void) => Promise<Engine & { description: string }>,
): Promise<Engine | undefined> {
  const say = (line: string) => process.stdout.write(`${name}: ${line}\n`)
  if (given) {
    say(given)
    return { url: given, stop: async () => {} }
  }
  try {
    const started = await start(say)
    say(started.description)
    return started
  } catch (error) {
    if (process.env.CI) throw error
    say(`what needs it is skipped, because ${(error as Error).message}`)
    return undefined
  }
}
