import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { startCluster } from '../local/cluster.ts'
import { ensureRedis, startRedis } from '../local/engines/redis.ts'

declare module 'vitest' {
  interface ProvidedContext {
    serverUrl: string
    /** Undefined where there is no Redis: what needs it is skipped. */
    redisUrl: string | undefined
  }
}

/** One real PostgreSQL for the whole run, with a migrated template that each test file gets a copy of; and one real Redis. */
export default async function setup(project: TestProject) {
  // First: in CI the run ends here without one, when nothing else has been started yet.
  const redis = await findRedis()
  project.provide('redisUrl', redis?.url)
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
  project.provide('serverUrl', cluster.primaryUrl)
  return async () => {
    await redis?.stop()
    await cluster.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}

/** The Redis of `TEST_REDIS_URL`, or one that is started. A line says which; without any, what needs it is skipped, but not in CI. */
async function findRedis(): Promise<{ url: string; stop: () => Promise<void> } | undefined> {
  const say = (line: string) => process.stdout.write(`redis: ${line}\n`)
  const { TEST_REDIS_URL, CI } = process.env
  if (TEST_REDIS_URL) {
    say(TEST_REDIS_URL)
    return { url: TEST_REDIS_URL, stop: async () => {} }
  }
  try {
    const version = await ensureRedis(say)
    const started = await startRedis()
    say(`${started.description}, version ${version}`)
    return started
  } catch (error) {
    if (CI) throw error
    say(`what needs it is skipped, because ${(error as Error).message}`)
    return undefined
  }
}
