import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import type { BenchCluster } from '../bench-cluster.ts'
import { closeLater } from '../closing.ts'
import type { Connection } from '../connection.ts'
import { ON_HAND, productId } from '../dataset.ts'
import { runLoad } from '../load/load.ts'
import type { Options } from '../options.ts'
import { BUYERS, type Contender, PIECES } from './contenders.ts'
import { start } from './servers.ts'

const INSTALL_MS = 600_000
/** Items that one request may create: its module inserts them in one statement. */
const CHUNK = 1_000

/**
 * Starts Medusa's inventory module with its locks in PostgreSQL, in a separate process and a separate database on the same server.
 * Its packages are installed beside the project, never in it. If that fails, the rest is measured without it.
 */
export async function startPeer(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Contender | { skipped: string }> {
  try {
    const folder = await install(progress)
    const url = await cluster.createEmptyDatabase('medusa')
    const { port } = await start(join(folder, 'server.mjs'), url, {
      NODE_ENV: 'production',
      MEDUSA_DISABLE_TELEMETRY: 'true',
    })
    const numbers = Array.from({ length: options.products }, (_, index) => index + 1)
    for (let from = 0; from < numbers.length; from += CHUNK) {
      await createItems(port, numbers.slice(from, from + CHUNK), ON_HAND)
    }
    progress(`Medusa has ${options.products.toLocaleString('en')} items`)
    const sql = postgres(url, { max: 1, onnotice: () => {} })
    closeLater(() => sql.end({ timeout: 1 }))
    await sql.unsafe('vacuum analyze')
    return contender(port, sql, options)
  } catch (error) {
    const [reason = ''] = String(error instanceof Error ? error.message : error).split('\n')
    progress(`Medusa is left out: ${error instanceof Error ? error.message : error}`)
    return { skipped: reason }
  }
}

async function install(progress: (line: string) => void): Promise<string> {
  const folder = fileURLToPath(new URL('../../../.local/bench-peer', import.meta.url))
  await mkdir(folder, { recursive: true })
  for (const file of ['package.json', 'server.mjs']) {
    await copyFile(fileURLToPath(new URL(`peer/${file}`, import.meta.url)), join(folder, file))
  }
  progress('installing Medusa’s packages into .local/bench-peer')
  const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline', '--loglevel=error']
  const child = spawn('npm', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  const stop = closeLater(async () => {
    child.kill('SIGTERM')
  })
  const timer = setTimeout(() => child.kill('SIGTERM'), INSTALL_MS)
  let output = ''
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const [code] = await once(child, 'close').finally(() => {
    clearTimeout(timer)
    return stop()
  })
  if (code !== 0) throw new Error(`npm could not install its packages (${code}): ${output.trim()}`)
  return folder
}

async function createItems(port: number, numbers: number[], stocked: number): Promise<void> {
  const items = numbers.map((number) => ({ id: productId(number), sku: `B-${number}`, stocked }))
  const response = await fetch(`http://127.0.0.1:${port}/items`, { method: 'POST', body: JSON.stringify({ items }) })
  if (response.status !== 201) throw new Error(`Medusa made no items: ${await response.text()}`)
  await response.arrayBuffer()
}

function contender(port: number, sql: Connection, run: Options): Contender {
  const { connections, seconds, warmSeconds } = run
  const job = { ports: [port], path: '/v1/reservations', headers: {}, expectedStatus: 201, connections }
  let added = 0
  return {
    name: 'Medusa',
    async measure(products) {
      await sql.unsafe('checkpoint')
      const { acknowledged, ...rest } = await runLoad({ ...job, warmSeconds, seconds, products })
      const lost = await countMissing(sql, acknowledged)
      return { ...rest, acknowledged: acknowledged.length, lost, inconsistent: await countInconsistent(sql) }
    },
    async sellOut() {
      const number = run.products + ++added
      await createItems(port, [number], PIECES)
      const products = { first: number, count: 1 }
      await runLoad({ ...job, products, warmSeconds: 0, seconds: 60, requestsMax: BUYERS })
      const [row] = await sql<[{ sold: number }]>`
        select coalesce(sum(quantity), 0)::int as sold from reservation_item
        where inventory_item_id = ${productId(number)} and deleted_at is null`
      return { pieces: PIECES, sold: row.sold }
    },
  }
}

async function countMissing(sql: Connection, ids: string[]): Promise<number> {
  const [row] = await sql<[{ missing: number }]>`
    select count(*)::int as missing
    from json_array_elements_text(${JSON.stringify(ids)}::text::json) as acknowledged (id)
    where not exists (select from reservation_item where reservation_item.id = acknowledged.id and deleted_at is null)`
  return row.missing
}

/** Counts items whose reserved quantity is not the sum of their reservations. */
async function countInconsistent(sql: Connection): Promise<number> {
  const [row] = await sql<[{ count: number }]>`
    select count(*)::int as count
    from inventory_level as level
    left join (
      select inventory_item_id, sum(quantity) as quantity from reservation_item where deleted_at is null group by 1
    ) as reserved using (inventory_item_id)
    where level.reserved_quantity <> coalesce(reserved.quantity, 0) or level.reserved_quantity > level.stocked_quantity`
  return row.count
}
