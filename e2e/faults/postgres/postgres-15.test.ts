import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { ensurePostgres15 } from '../../../infra/local/engines/postgres-15.ts'
import { type Cluster, startCluster } from '../../../infra/local/postgres/cluster.ts'
import { runEndToEnd } from '../../collection/run.ts'
import { type Started, startNode } from '../processes.ts'

// PostgreSQL 15 is installed first if it is missing. The scenarios take half a minute on an idle machine.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 600_000 })

const KEY = 'an-admin-key-of-this-test'

let folder: string
let cluster: Cluster | undefined
let service: Started | undefined

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stock-15-'))
  const binaries = await ensurePostgres15((line) => process.stdout.write(`postgresql 15: ${line}\n`))
  cluster = await startCluster({ dataDir: join(folder, 'postgres'), replica: true, fsync: false, binaries })
})

afterAll(async () => {
  service?.process.kill('SIGTERM')
  await service?.exit
  await cluster?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Makes a database on PostgreSQL 15 whose owner has no other rights. Returns its URLs on the primary and on the replica. */
async function ownedDatabase({ primaryUrl, replicaUrl }: Cluster): Promise<{ primary: string; replica: string }> {
  const admin = postgres(primaryUrl, { max: 1, onnotice: () => {} })
  await admin`create role shop login password 'shop-secret' nosuperuser nocreatedb nocreaterole noreplication nobypassrls`
  await admin`create database shop owner shop`
  await admin.end()
  const as = (url = '') =>
    Object.assign(new URL(url), { username: 'shop', password: 'shop-secret', pathname: '/shop' }).href
  return { primary: as(primaryUrl), replica: as(replicaUrl) }
}

it('serves every story on PostgreSQL 15, as a role that owns its database and no more', async () => {
  if (!cluster) throw new Error('there is no cluster')
  const { primary, replica } = await ownedDatabase(cluster)
  service = startNode(fileURLToPath(new URL('../../../infra/local/start.ts', import.meta.url)), {
    DATABASE_URL: primary,
    DATABASE_REPLICA_URL: replica,
    DATA_DIR: join(folder, 'service'),
    HOST: '127.0.0.1',
    PORT: '0',
    SEED: '1',
    BOOTSTRAP_API_KEY: KEY,
    LOG_LEVEL: 'warn',
    NODE_OPTIONS: '--import tsx',
  })
  const url = await service.line((line) => /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0])
  const told: string[] = []
  const counts = await runEndToEnd({ stack: { url, key: KEY, disposable: true }, write: (text) => told.push(text) })
  expect({ counts, told: counts.failed > 0 ? told.join('') : '' }).toMatchObject({ counts: { failed: 0 }, told: '' })
  expect(counts.passed).toBeGreaterThan(100)
  // If the service could not query the replica, it would work without it and log that.
  expect(service.lines.filter((line) => line.includes('replica'))).toEqual([])
})
