import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { startCluster } from '../local/cluster.ts'
import { ensureKafka, startKafka } from '../local/engines/kafka.ts'
import { ensureRedis, startRedis } from '../local/engines/redis.ts'

declare module 'vitest' {
  interface ProvidedContext {
    serverUrl: string
    /** Undefined where there is no Redis: what needs it is skipped. */
    redisUrl: string | undefined
    /** Undefined where there is no Kafka: what needs it is skipped. */
    kafkaUrl: string | undefined
  }
}

interface Engine {
  url: string
  stop: () => Promise<unknown>
}

/**
 * One real PostgreSQL for the whole run, with a migrated template that each test file gets a copy of; one real Redis; and one real
 * Kafka. They start side by side, and where one of them fails, nothing is left behind.
 */
export default async function setup(project: TestProject) {
  const { TEST_REDIS_URL, TEST_KAFKA_URL } = process.env
  const starting = await Promise.allSettled([
    startDatabase(),
    find('redis', TEST_REDIS_URL, async (say) => {
      const version = await ensureRedis(say)
      const started = await startRedis()
      return { ...started, description: `${started.description}, version ${version}` }
    }),
    find('kafka', TEST_KAFKA_URL, async (say) => {
      await ensureKafka(say)
      return startKafka({}, say)
    }),
  ] as const)
  const stop = () => Promise.all(starting.map((each) => each.status === 'fulfilled' && each.value?.stop()))
  const [database, redis, kafka] = starting
  if (database.status === 'fulfilled' && redis.status === 'fulfilled' && kafka.status === 'fulfilled') {
    project.provide('serverUrl', database.value.url)
    project.provide('redisUrl', redis.value?.url)
    project.provide('kafkaUrl', kafka.value?.url)
    return stop
  }
  await stop()
  throw starting.find((each) => each.status === 'rejected')?.reason
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
  return {
    url: cluster.primaryUrl,
    stop: async () => {
      await cluster.stop()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

/** The server at `url`, or one that is started. A line says which; without any, what needs it is skipped, but not in CI. */
async function find(
  name: string,
  url: string | undefined,
  start: (say: (line: string) => void) => Promise<Engine & { description: string }>,
): Promise<Engine | undefined> {
  const say = (line: string) => process.stdout.write(`${name}: ${line}\n`)
  if (url) {
    say(url)
    return { url, stop: async () => {} }
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
