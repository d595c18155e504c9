import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { closeLater } from '../closing.ts'
import { productId } from '../dataset.ts'
import type { Job } from '../load/load.ts'
import { reserveAlone } from './one-transaction.ts'

/** A client of the database that runs one transaction for each reservation, over 16 connections. */
export interface Transactions {
  name: string
  /** The actor of its ledger rows, and how many rows one transaction writes. */
  actor: string
  movements: number
  run(url: string, products: Job['products'], until: Until): Promise<{ count: number; perSecond: number }>
}

type Until = { seconds: number } | { transactionsEach: number }

export const PGBENCH_CLIENTS = 16
/** One thread was as fast, within the noise of two cores. */
const THREADS = 2

/** Returns pgbench if it is installed, in both variants; otherwise the same transaction from the driver, without a `version`. */
export async function findTransactions(): Promise<{ all: Transactions[]; version: string | undefined }> {
  const version = await pgbenchVersion()
  if (version === undefined) return { all: [fromDriver], version }
  const all = [
    fromPgbench('pgbench', ['reserve.pgbench.sql'], 1),
    fromPgbench('pgbench, one writing statement', ['reserve-in-one.pgbench.sql'], 1),
  ]
  return { all, version }
}

/** Returns pgbench's version, or undefined if it is not installed. */
export async function pgbenchVersion(): Promise<string | undefined> {
  const version = await pgbench(['--version']).catch(() => undefined)
  return version?.trim()
}

/** Runs `files` one after the other, as one script. The script writes `movements` movements. */
export const fromPgbench = (name: string, files: string[], movements: number): Transactions => ({
  name,
  actor: 'pgbench',
  movements,
  async run(url, { first, count }, until) {
    const { hostname, port, username, password, pathname } = new URL(url)
    const script = await joined(files)
    const length = 'seconds' in until ? ['-T', String(until.seconds)] : ['-t', String(until.transactionsEach)]
    const clients = ['-c', String(PGBENCH_CLIENTS), '-j', String(THREADS), '-M', 'prepared', '-n', ...length]
    const numbers = ['-D', `first=${first}`, '-D', `last=${first + count - 1}`]
    const server = ['-h', hostname, '-p', port, '-U', username, pathname.slice(1)]
    const output = await pgbench([...clients, ...numbers, '-f', script, ...server], { PGPASSWORD: password })
    const done = /transactions actually processed: (\d+)/.exec(output)?.[1]
    const perSecond = /^tps = ([\d.]+)/m.exec(output)?.[1]
    if (done === undefined || perSecond === undefined) throw new Error(`pgbench printed:\n${output}`)
    return { count: Number(done), perSecond: Number(perSecond) }
  },
})

/** Joins files into one: with several files, pgbench draws one at random for each transaction. */
async function joined(files: string[]): Promise<string> {
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, import.meta.url), 'utf8')))
  const folder = await mkdtemp(join(tmpdir(), 'stock-pgbench-'))
  closeLater(() => rm(folder, { recursive: true, force: true }))
  const script = join(folder, 'script.sql')
  await writeFile(script, texts.join(''))
  return script
}

async function pgbench(args: string[], environment: Record<string, string> = {}): Promise<string> {
  const child = spawn('pgbench', args, { env: { PATH: process.env.PATH, LC_ALL: 'C', ...environment } })
  const output: string[] = []
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk.toString()))
  const stop = closeLater(async () => {
    child.kill('SIGKILL')
  })
  try {
    const [code] = await once(child, 'close')
    if (code !== 0) throw new Error(`pgbench ended with ${code}:\n${output.join('')}`)
    return output.join('')
  } finally {
    await stop()
  }
}

const fromDriver: Transactions = {
  name: 'driver without HTTP',
  actor: 'driver',
  movements: 1,
  async run(url, { first, count }, until) {
    const sql = postgres(url, { max: PGBENCH_CLIENTS, onnotice: () => {} })
    const close = closeLater(() => sql.end({ timeout: 1 }))
    const [untilMs, each] =
      'seconds' in until
        ? [performance.now() + until.seconds * 1_000, Number.POSITIVE_INFINITY]
        : [Number.POSITIVE_INFINITY, until.transactionsEach]
    const startedAt = performance.now()
    let done = 0
    const client = async () => {
      for (let own = 0; own < each && performance.now() < untilMs; own++) {
        const number = first + Math.floor(Math.random() * count)
        if (await reserveAlone(sql, productId(number), 1, 'driver')) done++
      }
    }
    try {
      await Promise.all(Array.from({ length: PGBENCH_CLIENTS }, client))
      return { count: done, perSecond: (done * 1_000) / (performance.now() - startedAt) }
    } finally {
      await close()
    }
  },
}
