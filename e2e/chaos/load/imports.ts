import { setTimeout as sleep } from 'node:timers/promises'
import type { Job } from '#jobs/schema'
import { parsed } from './client.ts'
import type { Shop } from './shop.ts'

const EVERY_MS = 3_000
const POLL_MS = 300
/** A killed attempt is retried once its lease has expired. */
const DONE_MAX_MS = 180_000
const CHANGED = 4
const ADDED = 2
const STOCK = 5

/** Runs one import after the other. Each renames the same products and adds some. Records the expected result in `imported`. */
export function runImports(shop: Shop, imported: Map<string, { name: string; onHand: number }>, seed: number) {
  let openSince: number | undefined

  async function run(): Promise<void> {
    for (let turn = 1; shop.isOpen(); turn++) {
      const rows = rowsOf(turn, seed)
      const body = rows.map((row) => `${JSON.stringify(row)}\n`).join('')
      const written = await shop.write({ operation: 'POST /v1/products/imports', body })
      if (!written) return
      if (written.answer.status !== 202)
        return shop.checker.find('documented', `an import was answered ${written.answer.text}`)
      openSince = Date.now()
      const created = rows.filter(({ sku }) => !imported.has(sku)).length
      const { id } = parsed<Job>(written.answer)
      const job = await ended(shop, id)
      openSince = undefined
      const expected = { total: rows.length, created, updated: rows.length - created, failed: 0 }
      const result = { ...(job?.result as object), errors: undefined }
      if (job?.state !== 'succeeded')
        return shop.checker.find('nothing lost', `the import ${id}: ${JSON.stringify(job)}`)
      if (Object.entries(expected).some(([name, value]) => (result as Record<string, unknown>)[name] !== value))
        shop.checker.find(
          'nothing doubled',
          `the import ${id}: ${JSON.stringify(result)}, not ${JSON.stringify(expected)}`,
        )
      for (const { sku, name, initialStock } of rows) imported.set(sku, { name, onHand: initialStock })
      await sleep(EVERY_MS)
    }
  }
  return { done: run(), openSince: () => openSince }
}

export const importedPrefix = (seed: number) => `IMPORT-${seed}-`

function rowsOf(turn: number, seed: number) {
  const row = (sku: string, initialStock: number) => ({
    sku: importedPrefix(seed) + sku,
    name: `Of the import ${turn}`,
    initialStock,
  })
  return [
    ...Array.from({ length: CHANGED }, (_, index) => row(`C${index}`, 0)),
    ...Array.from({ length: ADDED }, (_, index) => row(`T${turn}-${index}`, STOCK)),
  ]
}

async function ended({ read }: Shop, id: string): Promise<Job | undefined> {
  const deadline = performance.now() + DONE_MAX_MS
  let job: Job | undefined
  while (performance.now() < deadline && !['succeeded', 'dead'].includes(job?.state ?? '')) {
    await sleep(POLL_MS)
    const answer = await read({ operation: 'GET /v1/jobs/{jobId}', ids: [id] })
    job = answer && parsed<Job>(answer)
  }
  return job
}
