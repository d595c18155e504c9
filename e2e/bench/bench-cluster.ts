import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { ensureBootstrapKey } from '#access'
import { overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { startCluster } from '../../infra/local/postgres/cluster.ts'
import { closeLater } from './closing.ts'
import type { Connection } from './connection.ts'
import { generateDataset } from './dataset.ts'

export const API_KEY = 'benchmark-admin-key'
/** The name of the cluster's data folder, inside its folder. */
export const DATA_FOLDER = 'data'

/** One PostgreSQL, on the project's disk: a temporary folder may be in memory, where a flush costs nothing. */
export interface BenchCluster {
  /** Makes a database of the service with `products` products: a copy of a template, which the first call fills. */
  createDatabase(products: number): Promise<BenchDatabase>
  /** The same, but without a template: for a database that is too large to have twice. */
  createLargeDatabase(products: number): Promise<BenchDatabase>
  /** Makes an empty database. */
  createEmptyDatabase(name: string): Promise<string>
  serverVersion: string
  folder: string
  /** The superuser's URL. */
  url: string
  /** Returns the replica's URL for the primary's database at `url`. Throws if there is no replica. */
  replicaUrlOf(url: string): string
}

export interface BenchDatabase {
  url: string
  sql: Connection
  products: number
  remove(): Promise<void>
}

/** Starts a cluster. `settings` are additional server settings; `fsync` is on. */
export async function startBenchCluster(
  progress: (line: string) => void,
  { settings = {}, replica = false }: { settings?: Record<string, string>; replica?: boolean } = {},
): Promise<BenchCluster> {
  const parent = fileURLToPath(new URL('../../.local', import.meta.url))
  await mkdir(parent, { recursive: true })
  const folder = await mkdtemp(join(parent, 'bench-'))
  closeLater(() => rm(folder, { recursive: true, force: true }))
  progress('starting PostgreSQL')
  const cluster = await startCluster({
    dataDir: join(folder, DATA_FOLDER),
    replica,
    settings: { ...settings, fsync: 'on' },
  })
  closeLater(cluster.stop)
  const sql = postgres(cluster.primaryUrl, { max: 1, onnotice: () => {} })
  closeLater(() => sql.end({ timeout: 1 }))
  const [row] = await sql<[{ server_version: string }]>`show server_version`
  const createEmptyDatabase = async (name: string) => {
    await sql.unsafe(`create database ${name}`)
    return urlOf(cluster.primaryUrl, name)
  }

  const { replicaUrl } = cluster
  const replicaUrlOf = (url: string) => {
    if (replicaUrl === undefined) throw new Error('this cluster has no replica')
    return urlOf(replicaUrl, new URL(url).pathname.slice(1))
  }
  const templates = new Map<number, string>()
  let databases = 0
  return {
    folder,
    url: cluster.primaryUrl,
    serverVersion: row.server_version,
    createEmptyDatabase,
    replicaUrlOf,
    async createDatabase(products) {
      const template = templates.get(products) ?? (await fillTemplate(products))
      templates.set(products, template)
      const name = `bench_${++databases}`
      await sql.unsafe(`create database ${name} template ${template}`)
      await sql.unsafe('checkpoint')
      return open(name, products)
    },
    createLargeDatabase: async (products) => open(await fillTemplate(products), products),
  }

  function open(name: string, products: number): BenchDatabase {
    const drop = () => sql.unsafe(`drop database ${name} with (force)`)
    return openDatabase(urlOf(cluster.primaryUrl, name), products, drop)
  }

  async function fillTemplate(products: number): Promise<string> {
    const name = `template_${products}`
    const url = await createEmptyDatabase(name)
    await prepareSchema(url)
    const filling = postgres(url, { max: 1, onnotice: () => {} })
    const startedAt = performance.now()
    try {
      await generateDataset(filling, products, (done) => {
        const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0)
        progress(`generated ${done.toLocaleString('en')} of ${products.toLocaleString('en')} products, ${seconds} s`)
      })
    } finally {
      await filling.end({ timeout: 1 })
    }
    return name
  }
}

function urlOf(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = database
  return changed.href
}

async function prepareSchema(url: string): Promise<void> {
  await useDatabase(url)
  try {
    await migrate()
    await ensureBootstrapKey(API_KEY)
  } finally {
    await closeDatabase()
  }
}

/** Points the service's own code, in this process, to a database. */
export async function useDatabase(url: string): Promise<void> {
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: url, LOG_LEVEL: 'error' })
}

function openDatabase(url: string, products: number, drop: () => Promise<unknown>): BenchDatabase {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const remove = closeLater(async () => {
    await sql.end({ timeout: 1 })
    await closeDatabase()
    await drop()
  })
  return { url, sql, products, remove }
}
