import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { environment } from '#config'
import { systemContext } from '#database'
import { getJob } from '#jobs'
import { call, expectConsistent, functionNamed, newProduct, sql, uploadProducts } from '#testing'
import { type Fleet, startFleet } from '../fleet.ts'

// A process that imports a file is killed again and again, each time at a row that the seed determines; another process continues. In the end,
// every row must have its effect once. `CRASH_SEED=<seed> npx vitest run e2e/faults/jobs/import-crash.test.ts` kills at the same rows.

const { CRASH_SEED } = environment()
const seed = CRASH_SEED === undefined ? randomInt(1_000_000_000) : Number(CRASH_SEED)
const ROWS = 12_000
/** One fewer than a job has attempts. */
const KILLS = 4
/** One row in a hundred is of an existing product; one row in ten is bad. */
const KNOWN = 3
const BAD = 7
const STOCK = 5

const rows = Array.from({ length: ROWS }, (_, index) => ({
  sku: `ROW-${index}`,
  name: index % 10 === BAD ? '' : 'imported',
  initialStock: STOCK,
}))

/** How many rows are done when the process is killed. The last batch is left to a process that survives. */
const moments = fc
  .sample(fc.uniqueArray(fc.integer({ min: 0, max: ROWS - 2_000 }), { minLength: KILLS, maxLength: KILLS }), {
    seed,
    numRuns: 1,
  })
  .flat()
  .sort((a, b) => a - b)

let fleet: Fleet

beforeAll(async () => {
  fleet = await startFleet(['process-job'])
  for (let index = KNOWN; index < ROWS; index += 100) {
    await newProduct({ sku: `ROW-${index}`, name: 'there before', initialStock: 1 })
  }
})
afterAll(() => fleet.stop())

const stateOf = async (id: string) => {
  const [job] = await sql<Array<{ state: string; done: number; attempts: number }>>`
    select state, progress_done as done, attempts from jobs where id = ${id}`
  return job
}

/** Waits until `done` rows are imported, kills the process, and starts another. Ends the lease of the killed process early. */
async function killAt(id: string, done: number, attempt: number): Promise<void> {
  await vi.waitFor(
    async () => {
      const job = await stateOf(id)
      expect(job).toMatchObject({ state: 'running', attempts: attempt })
      expect(job?.done).toBeGreaterThanOrEqual(done)
    },
    { timeout: 60_000, interval: 2 },
  )
  const [member] = fleet.members
  await member?.kill()
  expect(await stateOf(id)).toMatchObject({ state: 'running', attempts: attempt })
  await sql`update jobs set locked_until = now() where id = ${id}`
  await member?.restart()
  await vi.waitFor(
    async () => {
      const job = await stateOf(id)
      // The next attempt may have begun before this check.
      expect(job?.state !== 'running' || job.attempts > attempt).toBe(true)
    },
    { timeout: 10_000, interval: 10 },
  )
  await sql`update jobs set run_at = now() where id = ${id}`
}

it(`an import has every effect once, however often its process is killed (CRASH_SEED=${seed})`, async () => {
  const id = await uploadProducts('ndjson', rows.map((row) => JSON.stringify(row)).join('\n'))
  for (const [index, done] of moments.entries()) await killAt(id, done, index + 1)
  const job = await vi.waitFor(
    async () => {
      const found = await getJob(id, systemContext('function:test'))
      expect(found.state).toBe('succeeded')
      return found
    },
    { timeout: 60_000, interval: 20 },
  )

  const [known, bad] = [ROWS / 100, ROWS / 10]
  expect(job).toMatchObject({
    attempts: KILLS + 1,
    progress: { done: ROWS, total: ROWS },
    result: { total: ROWS, created: ROWS - bad - known, updated: known, failed: bad },
  })
  const { errors } = job.result as { errors: Array<{ line: number }> }
  expect(errors.map(({ line }) => line)).toEqual(
    rows.flatMap(({ name }, index) => (name === '' ? index + 1 : [])).slice(0, 1_000),
  )
  expect(
    await sql`select count(*)::int, count(distinct sku)::int as skus from products where name = 'imported'`,
  ).toEqual([{ count: ROWS - bad, skus: ROWS - bad }])
  expect(await sql`select on_hand, version::int, count(*)::int from stock_levels group by 1, 2 order by 1`).toEqual([
    { on_hand: 1, version: 3, count: known },
    { on_hand: STOCK, version: 2, count: ROWS - bad - known },
  ])
  await expectConsistent()
  const audit = await call(await functionNamed('audit-stock'))
  expect(audit.body).toMatchObject({ consistent: true, discrepancies: [] })
})
