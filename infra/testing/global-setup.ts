import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { startCluster } from '../local/cluster.ts'

declare module 'vitest' {
  interface ProvidedContext {
    serverUrl: string
  }
}

/** One real PostgreSQL for the whole run, with a migrated template that each test file gets a copy of. */
export default async function setup(project: TestProject) {
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
    await cluster.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}
