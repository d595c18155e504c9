import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import postgres from 'postgres'
import { overrideEnvironment } from '#config'
import { closeDatabase, migrate, systemCaller } from '#database'
import { ensureBootstrapKey } from '#function'
import { createProduct } from '#products'
import { CreateProductRequest } from '#products/schema'
import { auditStock } from '#stock'
import { startCluster } from '../../infra/local/cluster.ts'
import { listeningUrl, startNode } from '../../infra/testing/processes.ts'
import { median, runLoad } from './load.ts'

const USAGE = `node --import tsx e2e/bench/reservations.ts [--rounds N] [--seconds N] [--connections N]

Reservations a second: reserve-stock's bundle (npm run build) over HTTP against one transaction a request with the same
rows written, straight from the driver over 16 connections, in turn, on one PostgreSQL with fsync on. Hot is one product,
spread is 1,000.
`

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    connections: { type: 'string', default: '256' },
    help: { type: 'boolean', short: 'h' },
  },
})
if (values.help) {
  process.stdout.write(USAGE)
  process.exit(0)
}

const KEY = 'bench-admin-key'
const PRODUCTS = 1_000
const RIVAL_CONNECTIONS = 16
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const connections = Number(values.connections)

/** The rows that a reservation of one line writes, as one statement in one transaction: the least that a round trip can do. */
async function rival(url: string, productIdOf: () => string): Promise<number> {
  const sql = postgres(url, { max: RIVAL_CONNECTIONS, onnotice: () => {} })
  const until = performance.now() + seconds * 1_000
  let done = 0
  const one = async () => {
    while (performance.now() < until) {
      const id = productIdOf()
      await sql.begin((tx) => [
        tx`select on_hand, reserved from stock_levels where product_id = ${id} and location = 'main' for update`,
        tx`
          with level as (
            update stock_levels set reserved = reserved + 1, version = version + 1
            where product_id = ${id} and location = 'main' returning *
          ), hold as (
            insert into reservations (id, state, expires_at, created_at, updated_at)
            values (uuidv7(), 'held', now() + interval '15 minutes', now(), now()) returning id, expires_at
          ), line as (
            insert into reservation_lines (reservation_id, line, product_id, sku, location, quantity, held_until)
            select hold.id, 1, level.product_id, 'sku', 'main', 1, hold.expires_at from hold, level
          ), movement as (
            insert into stock_movements (product_id, id, location, type, on_hand_delta, reserved_delta, on_hand_after,
                                         reserved_after, reservation_id, actor, occurred_at)
            select level.product_id, uuidv7(), 'main', 'reserved', 0, 1, level.on_hand, level.reserved, hold.id, 'rival', now()
            from hold, level
          )
          insert into outbox (id, topic, type, product_id, version, data, occurred_at, traceparent)
          select uuidv7(), 'stock-events', 'stock.reserved', level.product_id, level.version,
                 json_build_object('productId', level.product_id, 'version', level.version, 'reservationId', hold.id), now(), '00'
          from hold, level`,
      ])
      done++
    }
  }
  await Promise.all(Array.from({ length: RIVAL_CONNECTIONS }, one))
  await sql.end()
  return done / seconds
}

async function main(): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'stock-bench-'))
  const cluster = await startCluster({ dataDir, replica: false })
  overrideEnvironment({ DATABASE_URL: cluster.primaryUrl, LOG_LEVEL: 'error' })
  const bundle = fileURLToPath(new URL('../../dist/functions/reserve-stock/index.mjs', import.meta.url))
  const host = startNode(bundle, { DATABASE_URL: cluster.primaryUrl, PORT: '0', HOST: '127.0.0.1' })
  try {
    await migrate()
    await ensureBootstrapKey(KEY)
    const ids: string[] = []
    for (let index = 0; index < PRODUCTS; index++) {
      const product = CreateProductRequest.parse({ sku: `B-${index}`, name: 'Bench', initialStock: 1_000_000_000 })
      ids.push((await createProduct(product, systemCaller('function:bench'))).product.id)
    }
    await measure(await listeningUrl(host), cluster.primaryUrl, ids)
    const audit = await auditStock()
    process.stdout.write(
      `\naudit: ${audit.consistent ? 'every balance agrees with the ledger' : JSON.stringify(audit)}\n`,
    )
  } finally {
    host.process.kill('SIGTERM')
    await host.exit
    await closeDatabase()
    await cluster.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}

async function measure(origin: string, url: string, ids: string[]): Promise<void> {
  const hot = () => ids[0] ?? ''
  const spread = () => ids[Math.floor(Math.random() * ids.length)] ?? ''
  const rows = new Map<string, number[]>()
  const note = (name: string, perSecond: number) => rows.set(name, [...(rows.get(name) ?? []), perSecond])
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }
  for (let round = 1; round <= rounds; round++) {
    for (const [name, pick] of Object.entries({ hot, spread })) {
      const requestOf = () => ({ path: '/v1/reservations', body: { lines: [{ productId: pick(), quantity: 1 }] } })
      const load = await runLoad(origin, connections, seconds, requestOf, headers)
      if (Object.keys(load.statuses).join() !== '201') throw new Error(`answered ${JSON.stringify(load.statuses)}`)
      note(`reserve-stock, ${name}`, load.perSecond)
      note(`one transaction a request, ${name}`, await rival(url, pick))
      process.stdout.write(
        `round ${round} of ${rounds}, ${name}: ${load.perSecond.toFixed(0)}/s, p50 ${load.p50Ms.toFixed(1)} ms, p99 ${load.p99Ms.toFixed(1)} ms\n`,
      )
    }
  }
  process.stdout.write('\n| | median /s | min-max |\n|---|---|---|\n')
  for (const [name, values] of rows) {
    const range = `${Math.min(...values).toFixed(0)}-${Math.max(...values).toFixed(0)}`
    process.stdout.write(`| ${name} | ${median(values).toFixed(0)} | ${range} |\n`)
  }
  for (const name of ['hot', 'spread']) {
    const ratio =
      median(rows.get(`reserve-stock, ${name}`) ?? []) / median(rows.get(`one transaction a request, ${name}`) ?? [])
    process.stdout.write(`${name}: ${ratio.toFixed(2)} times one transaction a request\n`)
  }
}

await main()
