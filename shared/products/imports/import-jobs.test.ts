import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemContext } from '#database'
import { getJob, runJob, runner } from '#jobs'
import type { Job } from '#jobs/schema'
import { logger } from '#telemetry'
import {
  blocked,
  everyType,
  expectConsistent,
  inRivalSession,
  newProduct,
  runQueued,
  sql,
  uploadProducts,
} from '#testing'
import { importProducts } from './import-products.ts'
import { ImportPayload } from './payload.ts'

const context = () => systemContext('function:test')
const jobOf = (id: string): Promise<Job> => getJob(id, context())
const ndjson = (rows: object[]) => rows.map((row) => JSON.stringify(row)).join('\n')
const products = (count: number, name = 'x') =>
  Array.from({ length: count }, (_, index) => ({ sku: `SKU-${index}`, name, initialStock: 2 }))

beforeEach(async () => {
  await sql`truncate jobs, products, outbox, stock_movements cascade`
})
afterEach(expectConsistent)

describe('a file that is unfit', () => {
  const half = Buffer.concat([Buffer.from(`${ndjson(products(700))}\n`), Buffer.from([0xff])])
  it.each([
    ['not UTF-8 to its end', 'ndjson', half, 'is not valid UTF-8'],
    [
      'not CSV to its end',
      'csv',
      `sku,name\n${'A,B\n'.repeat(700)}"`,
      'is not CSV: the record from line 702 on has a quote that is not closed',
    ],
    [
      'with columns that nobody knows',
      'csv',
      'sku,name,colour,size\nA,B,red',
      'has the unknown columns "colour", "size"',
    ],
    ['with too many rows', 'ndjson', '{}\n'.repeat(100_001), 'has more than 100000 rows; send it in parts'],
  ] as const)(
    '(%s) is the client’s error: the job is dead and says why, and nothing is left to do',
    async (_, format, file, message) => {
      const id = await uploadProducts(format, file)
      const logged = vi.spyOn(logger(), 'error')
      expect(await runQueued(id)).toEqual({ status: 200 })
      expect(logged).not.toHaveBeenCalled()
      expect(await jobOf(id)).toMatchObject({
        state: 'dead',
        attempts: 1,
        result: null,
        error: expect.stringContaining(`validation_failed: file: ${message}`),
      })
      for (const table of ['products', 'job_inputs', 'dead_letters'])
        expect(await sql`select 1 from ${sql(table)}`).toHaveLength(0)
    },
  )

  it('tells of all its columns, however many those are', async () => {
    const names = Array.from({ length: 60 }, (_, index) => `Attribute ${index} of the old system`)
    const id = await uploadProducts('csv', `sku,name,${names.join()}\n`)
    await runQueued(id)
    const { error } = await jobOf(id)
    for (const name of [...names, 'priceAmount']) expect(error).toContain(name)
  })

  it('that is gone when its job is redriven has to be sent again', async () => {
    const id = await uploadProducts('csv', 'sku,name\nA,B')
    await sql`delete from job_inputs`
    await runQueued(id)
    expect(await jobOf(id)).toMatchObject({ state: 'dead', error: expect.stringContaining('Send it again') })
  })
})

/** Runs the job, and fails, as the database might, in the step for which `fails` holds: it gets the number of rows done, that step's included. */
function runUntil(id: string, fails: (done: number) => boolean) {
  const work = runner(ImportPayload, (payload, run) =>
    importProducts(payload, {
      ...run,
      step: (inStep) =>
        run.step(async (tx) => {
          const step = await inStep(tx)
          if (fails(step.done)) throw new Error('in the middle')
          return step
        }),
    }),
  )
  return runJob(id, crypto.randomUUID(), context(), { ...everyType(async () => ({})), 'import-products': work })
}

describe('an import that fails in the middle', () => {
  it('goes on behind what was committed, and counts every row of all attempts once', async () => {
    await newProduct({ sku: 'SKU-1', initialStock: 2 })
    const rows = products(1_700, 'imported').map((row, index) => (index % 10 === 0 ? { ...row, name: '' } : row))
    const id = await uploadProducts('ndjson', ndjson(rows))
    const doneAt: number[] = []
    for (const failing of [500, 1_000, 1_700]) {
      await expect(runUntil(id, (done) => done === failing)).rejects.toThrow('in the middle')
      doneAt.push((await jobOf(id)).progress.done)
      await sql`update jobs set state = 'retrying', lease = null, locked_until = null where id = ${id}`
    }
    expect(doneAt).toEqual([0, 500, 1_500])
    expect(await runQueued(id)).toEqual({ status: 200 })
    const { result, progress, attempts } = await jobOf(id)
    expect({ result, progress, attempts }).toMatchObject({
      result: { total: 1_700, created: 1_529, updated: 1, failed: 170 },
      progress: { done: 1_700, total: 1_700 },
      attempts: 4,
    })
    const { errors } = result as { errors: Array<{ line: number }> }
    expect(errors.map(({ line }) => line)).toEqual(Array.from({ length: 170 }, (_, index) => index * 10 + 1))
    expect(await sql`select on_hand::int, count(*)::int from stock_levels group by on_hand`).toEqual([
      { on_hand: 2, count: 1_530 },
    ])
    expect(await sql`select count(*)::int from outbox`).toEqual([{ count: 1_530 * 2 + 1 }])
  })

  it('can’t go on once another attempt has taken it up', async () => {
    const id = await uploadProducts('ndjson', ndjson(products(700)))
    let slow: Promise<unknown> = Promise.resolve()
    // The job's first step waits for this session, which has taken one of the job's skus.
    await inRivalSession(async (rival) => {
      await rival`insert into products (id, sku, name) values (gen_random_uuid(), 'SKU-3', 'rival')`
      slow = runUntil(id, () => false)
      slow.catch(() => {})
      await blocked()
      await sql`update jobs set state = 'retrying', lease = null, locked_until = null where id = ${id}`
    })
    await expect(slow).rejects.toMatchObject({ code: 'busy' })
    expect(await sql`select 1 from products`).toHaveLength(0)
    expect(await runQueued(id)).toEqual({ status: 200 })
    expect((await jobOf(id)).result).toMatchObject({ created: 700, updated: 0 })
  })
})

describe('imports beside others', () => {
  it('make one product of a sku that create-product takes meanwhile, and change it', async () => {
    const id = await uploadProducts('ndjson', ndjson(products(20, 'imported')))
    let running: Promise<unknown> = Promise.resolve()
    await inRivalSession(async (rival) => {
      const [row] =
        await rival`insert into products (id, sku, name) values (gen_random_uuid(), 'SKU-3', 'rival') returning id`
      await rival`insert into stock_levels (product_id, location) values (${row?.id}, 'main')`
      running = runQueued(id)
      await blocked()
      await rival`commit`
    })
    expect(await running).toEqual({ status: 200 })
    expect((await jobOf(id)).result).toMatchObject({ created: 19, updated: 1, failed: 0 })
    const [taken] =
      await sql`select name, on_hand from products join stock_levels on product_id = id where sku = 'SKU-3'`
    expect(taken).toEqual({ name: 'imported', on_hand: 0 })
  })

  it('all succeed at once, with the same skus in any order, and make one product of each', async () => {
    const rows = products(600)
    const orders = [rows, rows.toReversed(), [...rows.slice(300), ...rows.slice(0, 300)]]
    const ids = await Promise.all(orders.map((order) => uploadProducts('ndjson', ndjson(order))))
    expect(await Promise.all(ids.map(runQueued))).toEqual(ids.map(() => ({ status: 200 })))
    const jobs = await Promise.all(ids.map(jobOf))
    const sum = (of: 'created' | 'updated' | 'failed') =>
      jobs.reduce((total, { result }) => total + (result as Record<typeof of, number>)[of], 0)
    expect([sum('created'), sum('updated'), sum('failed')]).toEqual([600, 1_200, 0])
    expect(await sql`select distinct on_hand from stock_levels`).toEqual([{ on_hand: 2 }])
  })
})
