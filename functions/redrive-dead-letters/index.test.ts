import { beforeEach, describe, expect, it } from 'vitest'
import { call, deadJob, expectNoEffect, functionNamed, sql } from '#testing'
import redriveDeadLetters from './index.ts'

const getJob = await functionNamed('get-job')
const listDeadLetters = await functionNamed('list-dead-letters')

const jobOf = async (jobId: string) => (await call(getJob, { params: { jobId } })).body
const letters = async () => (await call(listDeadLetters)).body.items as Array<{ id: string; jobId: string }>
const redrive = (body: object = {}) => call(redriveDeadLetters, { body })

beforeEach(async () => {
  await sql`truncate jobs cascade`
})

describe('redrive-dead-letters', () => {
  it('queues every dead job again, under its id, with all of its attempts', async () => {
    const ids = [await deadJob(), await deadJob()]
    expect(await redrive()).toMatchObject({ status: 200, body: { redriven: 2 } })
    for (const id of ids) expect(await jobOf(id)).toMatchObject({ id, state: 'queued', attempts: 0 })
    expect(await letters()).toEqual([])
  })

  it('queues those that are named, and passes over what is no dead letter any more, or never was', async () => {
    const [one, two] = [await deadJob(), await deadJob()]
    const letter = (await letters()).find(({ jobId }) => jobId === one)
    const ids = [letter?.id.toUpperCase(), crypto.randomUUID()]
    expect((await redrive({ ids })).body).toEqual({ redriven: 1 })
    expect((await redrive({ ids })).body).toEqual({ redriven: 0 })
    expect(await jobOf(one)).toMatchObject({ state: 'queued' })
    expect(await jobOf(two)).toMatchObject({ state: 'dead' })
  })

  it('keeps who did it, and a second letter should the job die again', async () => {
    const id = await deadJob()
    await redrive()
    const [first] = await sql`select redriven_by, redriven_at from dead_letters where job_id = ${id}`
    expect(first?.redriven_by).toMatch(/^api-key:[0-9a-f-]{36}$/)
    await sql`update jobs set state = 'succeeded' where id <> ${id}`
    await deadJob()
    expect(await jobOf(id)).toMatchObject({ state: 'dead', attempts: 1 })
    expect((await letters()).filter(({ jobId }) => jobId === id)).toHaveLength(1)
    expect(await sql`select 1 from dead_letters where job_id = ${id}`).toHaveLength(2)
  })

  it('redrives a letter once, however many ask at the same time', async () => {
    await deadJob()
    const answers = await Promise.all([redrive(), redrive(), redrive(), redrive()])
    expect(answers.map(({ body }) => body.redriven).sort()).toEqual([0, 0, 0, 1])
  })

  it('answers a repeat under its idempotency key as before, and redrives nothing more', async () => {
    await deadJob()
    const request = { body: {}, headers: { 'idempotency-key': 'redrive-1' } }
    expect((await call(redriveDeadLetters, request)).body).toEqual({ redriven: 1 })
    await deadJob()
    const again = await expectNoEffect(() => call(redriveDeadLetters, request))
    expect(again.body).toEqual({ redriven: 1 })
  })

  it.each([
    ['ids', { ids: [] }],
    ['ids.0', { ids: ['x'] }],
    ['ids', { ids: Array.from({ length: 1_001 }, () => crypto.randomUUID()) }],
    ['all', { all: true }],
  ])('refuses a wrong %s', async (path, body) => {
    expect(await redrive(body)).toMatchObject({ status: 422, body: { errors: [{ path }] } })
  })
})
