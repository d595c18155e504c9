import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
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
import { createBuilds } from './builds.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The URL where test files request engines (support/engines/engine.ts); undefined in the project that has none. */
    enginesUrl: string | undefined
    /** The URL where they request the builds that they start as processes (support/engines/builds.ts). */
    buildsUrl: string
  }
}

interface Engine {
  url: string
  stop: () => Promise<void>
}

/** A starter returns undefined if there is no such engine. Tests that need it are then skipped. */
const starters: Record<string, () => Promise<Engine | undefined>> = {
  postgres: startDatabase,
  redis: () =>
    find('redis', process.env.TEST_REDIS_URL, async (say) => {
      const version = await ensureRedis(say)
      const started = await startRedis()
      return { ...started, description: `${started.description}, version ${version}` }
    }),
  kafka: () =>
    find('kafka', process.env.TEST_KAFKA_URL, async (say) => {
      await ensureKafka(say)
      return startKafka({ isBrief: true }, say)
    }),
  rabbitmq: () =>
    find('rabbitmq', process.env.TEST_RABBIT_URL, async (say) => {
      await ensureRabbit(say)
      return startRabbit()
    }),
}

/**
 * Provides one real PostgreSQL, Redis, Kafka and RabbitMQ for the whole run, and one build of everything that runs as a process. Each is
 * started when the first test file requests it, and stays to the end. A run whose files request none starts none.
 */
export default async function setup(project: TestProject) {
  const builds = await createBuilds()
  const started = new Map<string, Promise<Engine | undefined>>()
  const engineNamed = (name: string) => {
    const engine = started.get(name) ?? starters[name]?.() ?? Promise.reject(new Error(`there is no engine ${name}`))
    started.set(name, engine)
    return engine
  }
  const server = createServer(({ url = '' }, response) => {
    const [, kind, name = ''] = /^\/(\w+)\/(.+)/.exec(url) ?? []
    void answer(
      response,
      kind === 'builds' ? builds.build(name) : engineNamed(name).then((engine) => ({ url: engine?.url })),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  project.provide('enginesUrl', `${origin}/engines`)
  project.provide('buildsUrl', `${origin}/builds`)
  return async () => {
    server.close()
    const settled = await Promise.allSettled(started.values())
    await Promise.all(settled.map((engine) => engine.status === 'fulfilled' && engine.value?.stop()))
    await builds.remove()
  }
}

async function answer(response: ServerResponse, made: Promise<object>): Promise<void> {
  try {
    response.end(JSON.stringify(await made))
  } catch (error) {
    response.writeHead(500).end((error as Error).message)
  }
}

/** Starts PostgreSQL with a migrated template database. Each test file gets a copy of it. */
async function startDatabase(): Promise<Engine> {
  const dataDir = await mkdtemp(join(tmpdir(), 'stock-test-'))
  // No data here outlives the run, and a killed process loses none of its writes: fsync only protects against power cuts.
  const cluster = await startCluster({ dataDir, replica: false, fsync: false })
  const stop = async () => {
    await cluster.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
  try {
    const templateUrl = new URL(cluster.primaryUrl)
    templateUrl.pathname = '/template_stock'
    const admin = postgres(cluster.primaryUrl, { max: 1, onnotice: () => {} })
    await admin`create database template_stock`
    await admin.end()
    overrideEnvironment({ DATABASE_URL: templateUrl.href })
    await migrate()
    await closeDatabase()
    return { url: cluster.primaryUrl, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Finds the engine at `given`, or starts one, and prints which. If there is none, tests that need it are skipped, except in CI. */
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
