import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { systemContext } from '#database'
import { pruneJobs, submitJob } from '#jobs'
import { deadJob, sql } from '#testing'

const context = () => systemContext('function:test')
const submit = async () => (await submitJob({ type: 'verify-ledger', payload: {} }, context())).id

it('exports are kept for a day; what a dead one has left of its result goes at once', async () => {
  const submitExport = async () => (await submitJob({ type: 'export-stock', payload: {} }, context())).id
  const [old, recent, dead] = [await submitExport(), await submitExport(), await submitExport()]
  for (const id of [old, recent, dead]) {
    await sql`insert into job_results (job_id, number, rows) values (${id}, 0, '[]')`
  }
  await sql`update jobs set state = 'succeeded', updated_at = now() - interval '25 hours' where id = ${old}`
  await sql`update jobs set state = 'succeeded', updated_at = now() - interval '23 hours' where id = ${recent}`
  await sql`update jobs set state = 'dead' where id = ${dead}`
  expect(await pruneJobs(context())).toBe(3)
  expect((await sql`select id from jobs order by id`).map(({ id }) => id)).toEqual([recent, dead])
  expect(await sql`select job_id as id from job_results`).toEqual([{ id: recent }])
  await sql`truncate jobs cascade`
})

it('jobs that have sent an event to a webhook are kept for a day, if they succeeded', async () => {
  const event = { id: randomUUID(), source: 'test', type: 'stock.low', data: {} }
  const payload = { webhookId: randomUUID(), event }
  const deliver = async () => (await submitJob({ type: 'deliver-webhook', payload }, context())).id
  const [old, recent, failed] = [await deliver(), await deliver(), await deliver()]
  await sql`update jobs set updated_at = now() - interval '25 hours'`
  await sql`update jobs set state = 'succeeded' where id in (${old}, ${recent})`
  await sql`update jobs set updated_at = now() - interval '23 hours' where id = ${recent}`
  const other = await submit()
  await sql`update jobs set updated_at = now() - interval '25 hours', state = 'succeeded' where id = ${other}`
  expect(await pruneJobs(context())).toBe(1)
  const left = await sql`select id from jobs order by id`
  expect(left.map(({ id }) => id)).toEqual([recent, failed, other])
  await sql`truncate jobs cascade`
})

it('jobs that succeeded more than 30 days ago are deleted with their results, and no others', async () => {
  const dead = await deadJob()
  const [old, recent, waiting] = [await submit(), await submit(), await submit()]
  await sql`update jobs set updated_at = now() - interval '31 days'`
  await sql`update jobs set state = 'succeeded' where id = ${old} or id = ${recent}`
  await sql`update jobs set updated_at = now() - interval '29 days' where id = ${recent}`
  for (const id of [old, recent]) {
    await sql`insert into job_results (job_id, number, rows) values (${id}, 0, '[]'), (${id}, 1, '[]')`
  }
  expect(await pruneJobs(context())).toBe(3)
  expect((await sql`select id from jobs order by id`).map(({ id }) => id)).toEqual([dead, recent, waiting])
  expect(await sql`select 1 from job_results`).toHaveLength(2)
  expect(await sql`select 1 from dead_letters`).toHaveLength(1)
})

it('the file of a job that died more than 30 days ago is deleted, and that of no other', async () => {
  const input = [new Uint8Array([1]), new Uint8Array([2])]
  const submitFile = async () => (await submitJob({ type: 'verify-ledger', payload: {}, input }, context())).id
  const [old, recent, waiting] = [await submitFile(), await submitFile(), await submitFile()]
  await sql`update jobs set updated_at = now() - interval '31 days' where id = ${old} or id = ${waiting}`
  await sql`update jobs set state = 'dead' where id = ${old} or id = ${recent}`
  await sql`
    insert into dead_letters (id, job_id, error, attempts)
    select gen_random_uuid(), id, 'x', 1 from jobs where id = ${old} or id = ${recent}`
  expect(await pruneJobs(context())).toBe(2)
  expect(await sql`select job_id as id from job_inputs where number = 0 order by job_id`).toEqual(
    [recent, waiting].map((id) => ({ id })),
  )
  expect(await sql`select 1 from jobs where id = ${old}`).toHaveLength(1)
})

it('a dead job without a dead letter, which nobody can redrive, is kept as long as one that succeeded', async () => {
  await sql`truncate jobs cascade`
  const redriven = await deadJob()
  const [old, recent] = [await submit(), await submit()]
  await sql`update jobs set state = 'dead', updated_at = now() - interval '31 days'`
  await sql`update jobs set updated_at = now() - interval '29 days' where id = ${recent}`
  await sql`update dead_letters set redriven_at = now(), redriven_by = 'test'`
  expect(await pruneJobs(context())).toBe(1)
  const left = await sql`select id from jobs order by id`
  expect(left.map(({ id }) => id)).toEqual([redriven, recent])
  expect(left).not.toContainEqual({ id: old })
})
