import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { ensureBootstrapKey } from '#access'
import { overrideEnvironment } from '#config'
import { closeDatabase, migrate } from '#database'
import { startCluster } from '../../infra/local/postgres/cluster.ts'
import { fillCatalogue } from './catalogue.ts'
import { closeLater } from './closing.ts'
import type { Connection } from './connection.ts'

export const API_KEY = 'bench-admin-key'

/** One PostgreSQL, on the disk that the project is on: a temporary folder may be in memory, where a flush costs nothing. */
export interface Site {
  /** A new database of the service with `products` products: a copy of one that is filled the first time that it is asked for. */
  createArena(products: number): Promise<Arena>
  /** The same, but not as a copy: for one that is too large to have twice. */
  createLargeArena(products: number): Promise<Arena>
  /** A new database with nothing in it. */
  createEmpty(name: string): Promise<string>
  serverVersion: string
  folder: string
  /** A URL of the replica's, for one of the primary's. Throws where there is no replica. */
  replicaUrlOf(url: string): string
}

export interface Arena {
  url: string
  sql: Connection
  products: number
  remove(): Promise<void>
}

/** `settings` are the server's, besides `fsync`, which is on. */
export async function startSite(
  progress: (line: string) => void,
  { settings = {}, replica = false }: { settings?: Record<string, string>; replica?: boolean } = {},
): Promise<Site> {
  const parent = fileURLToPath(new URL('../../.local', import.meta.url))
  await mkdir(parent, { recursive: true })
  const folder = await mkdtemp(join(parent, 'bench-'))
  closeLater(() => rm(folder, { recursive: true, force: true }))
  progress('starting PostgreSQL')
  const cluster = await startCluster({
    dataDir: join(folder, 'data'),
    replica,
    settings: { ...settings, fsync: 'on' },
  })
  closeLater(cluster.stop)
  const sql = postgres(cluster.primaryUrl, { max: 1, onnotice: () => {} })
  closeLater(() => sql.end({ timeout: 1 }))
  const [row] = await sql<[{ server_version: string }]>`show server_version`
  const createEmpty = async (name: string) => {
    await sql.unsafe(`create database ${name}`)
    return urlOf(cluster.primaryUrl, name)
  }

  const { replicaUrl } = cluster
  const replicaUrlOf = (url: string) => {
    if (replicaUrl === undefined) throw new Error('this site has no replica')
    return urlOf(replicaUrl, new URL(url).pathname.slice(1))
  }
  const templates = new Map<number, string>()
  let arenas = 0
  return {
    folder,
    serverVersion: row.server_version,
    createEmpty,
    replicaUrlOf,
    async createArena(products) {
      const template = templates.get(products) ?? (await fillTemplate(products))
      templates.set(products, template)
      const name = `arena_${++arenas}`
      await sql.unsafe(`create database ${name} template ${template}`)
      await sql.unsafe('checkpoint')
      return open(name, products)
    },
    createLargeArena: async (products) => open(await fillTemplate(products), products),
  }

  function open(name: string, products: number): Arena {
    const drop = () => sql.unsafe(`drop database ${name} with (force)`)
    return openArena(urlOf(cluster.primaryUrl, name), products, drop)
  }

  async function fillTemplate(products: number): Promise<string> {
    const name = `template_${products}`
    const url = await createEmpty(name)
    await prepareSchema(url)
    const filling = postgres(url, { max: 1, onnotice: () => {} })
    const startedAt = performance.now()
    try {
      await fillCatalogue(filling, products, (done) => {
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

function openArena(url: string, products: number, drop: () => Promise<unknown>): Arena {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const remove = closeLater(async () => {
    await sql.end({ timeout: 1 })
    await closeDatabase()
    await drop()
  })
  return { url, sql, products, remove }
}
