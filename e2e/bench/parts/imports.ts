import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { closeDatabase, primary, systemContext } from '#database'
import { eventRequest } from '#function'
import { getJob, submitJob } from '#jobs'
import { auditStock } from '#stock'
import processJob from '../../../functions/process-job/index.ts'
import { startBenchCluster, useDatabase } from '../bench-cluster.ts'
import { withClosing } from '../closing.ts'

// Measures how fast products are imported, in this process on a separate PostgreSQL: `node --import tsx e2e/bench/parts/imports.ts [--rows 100000]`.

const BLOCK_BYTES = 256 * 1024

const { values } = parseArgs({ options: { rows: { type: 'string', default: '100000' } } })
const count = Number(values.rows)
const context = () => systemContext('function:bench')
const progress = (line: string) => process.stderr.write(`${line}\n`)

function ndjson(name: string): string {
  const price = { amount: 1999, currency: 'EUR' }
  const rest = { description: 'Cast iron, with a sieve.', price, attributes: { category: 'Kitchen', colour: 'red' } }
  const row = (_: unknown, index: number) =>
    JSON.stringify({ sku: `IMPORT-${index}`, name: `${name} ${index}`, ...rest, initialStock: 10 })
  return Array.from({ length: count }, row).join('\n')
}

function csv(name: string): string {
  const header = 'sku,name,description,priceAmount,priceCurrency,attributes.category,attributes.colour,initialStock'
  const row = (_: unknown, index: number) =>
    `IMPORT-${index},${name} ${index},"Cast iron, with a sieve.",1999,EUR,Kitchen,red,10`
  return [header, ...Array.from({ length: count }, row)].join('\r\n')
}

/** Returns the seconds of CPU time that the server has used in the open sessions. */
async function serverSeconds(): Promise<number> {
  const sessions = await primary()<Array<{ pid: number }>>`select pid from pg_stat_activity`
  const stats = await Promise.all(sessions.map(({ pid }) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')))
  const ticks = stats.map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' '))
  return ticks.reduce((sum, fields) => sum + (Number(fields[11]) + Number(fields[12]) || 0), 0) / 100
}

async function measure(what: string, format: 'csv' | 'ndjson', text: string): Promise<void> {
  const bytes = Buffer.from(text)
  const input = Array.from({ length: Math.ceil(bytes.length / BLOCK_BYTES) }, (_, index) =>
    bytes.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES),
  )
  const { id } = await submitJob({ type: 'import-products', payload: { format }, input }, context())
  const [startedAt, ownBefore, serverBefore] = [performance.now(), process.cpuUsage(), await serverSeconds()]
  const attributes = { id: crypto.randomUUID(), source: 'bench', specversion: '1.0', type: 'job.due' } as const
  await processJob.app.fetch(eventRequest(attributes, { jobId: id }))
  const seconds = (performance.now() - startedAt) / 1_000
  const own = process.cpuUsage(ownBefore)
  const busy = `${((own.user + own.system) / 1e6).toFixed(1)} s of this process, ${((await serverSeconds()) - serverBefore).toFixed(1)} s of the server`
  const { state, result } = await getJob(id, context())
  const rate = Math.round(count / seconds).toLocaleString('en')
  progress(`${what}: ${rate} rows/s, ${seconds.toFixed(1)} s (${busy}): ${state} ${JSON.stringify(result)}`)
}

await withClosing(async () => {
  const cluster = await startBenchCluster(progress)
  const { url } = await cluster.createDatabase(1)
  await useDatabase(url)
  await measure('add, NDJSON', 'ndjson', ndjson('First'))
  await measure('change, NDJSON', 'ndjson', ndjson('Second'))
  await measure('nothing new, NDJSON', 'ndjson', ndjson('Second'))
  await measure('change, CSV', 'csv', csv('Third'))
  progress(JSON.stringify(await auditStock()))
  progress(`memory: ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`)
  await closeDatabase()
})
