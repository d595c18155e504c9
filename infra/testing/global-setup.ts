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
    /** Where test files ask for engines (support/engines/engine.ts); undefined in the project that has none. */
    enginesUrl: string | undefined
    /** Where they ask for what they start as processes (support/engines/builds.ts). */
    buildsUrl: string
  }
}

interface Engine {
  url: string
  stop: () => Promise<void>
}

/** Undefined where there is no such engine: what needs it is skipped. */
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
 * One real PostgreSQL, Redis, Kafka and RabbitMQ for the whole run, and one build of what runs as a process. Each is there from when the
 * first test file asks for it to the end: a run whose files ask for none starts none.
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

/** With a migrated template, of which a test file gets a copy. */
async function startDatabase(): Promise<Engine> {
  const dataDir = await mkdtemp(join(tmpdir(), 'stock-test-'))
  // Nothing here outlives the run, and a killed process loses nothing that it wrote: fsync only guards against power cuts.
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
