import { randomUUID } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type RequestContext, systemContext, transaction } from '#database'
import { invalid } from '#errors'
import { getJob, type JobRun, runJob, submitJob, UnfitInput } from '#jobs'
import { everyType, expectNoEffect, sql } from '#testing'
import { jobTypes } from '../job-types.ts'
import { adapters, claimOne } from '../testing/work.ts'
import { recordFailure } from './end-attempt.ts'

const context = () => systemContext('function:process-job')
const submit = (format?: 'csv' | 'ndjson') =>
  submitJob({ type: 'export-stock', payload: { format } }, systemContext('api-key:a'))

/** Runs the job with `work` in place of every type's runner. */
function run(jobId: string, work: (payload: object, run: JobRun) => Promise<object>, delivery: string = randomUUID()) {
  return runJob(jobId, delivery, context(), everyType(work))
}

const rowsOf = async (id: string) =>
  (await sql`select number, rows from job_results where job_id = ${id} order by number`).map(({ number, rows }) => [
    number,
    rows,
  ])

beforeEach(async () => {
  await sql`truncate jobs cascade`
})

describe('a job that is run', () => {
  it('gets its payload, works for whoever submitted it, and keeps its result', async () => {
    const { id } = await submit()
    const answer = await run(id, async (payload, { context: by }) => ({ payload, actor: by.actor }))
    expect(answer).toEqual({ jobId: id, ran: true })
    expect(await getJob(id, context())).toMatchObject({
      state: 'succeeded',
      attempts: 1,
      result: { payload: { format: 'csv' }, actor: 'api-key:a' },
      error: null,
    })
  })

  it('is run under the delivery that the worker took it with, as the same attempt', async () => {
    const { id } = await submit()
    const claim = await claimOne()
    expect(await run(id, async () => ({}), claim.id)).toEqual({ jobId: id, ran: true })
    expect(await getJob(id, context())).toMatchObject({ state: 'succeeded', attempts: 1 })
  })

  it('shows how far it is', async () => {
    const { id } = await submit()
    await run(id, async (_, { progress }) => {
      await progress(3, 10)
      expect(await getJob(id, context())).toMatchObject({ state: 'running', progress: { done: 3, total: 10 } })
      return {}
    })
  })

  it('is left alone by a delivery that comes again, during and after', async () => {
    const { id } = await submit()
    const twice = async () => expect(await run(id, async () => ({ by: 'twin' }))).toEqual({ jobId: id, ran: false })
    await run(id, async () => {
      await twice()
      return { by: 'first' }
    })
    await twice()
    expect(await getJob(id, context())).toMatchObject({ result: { by: 'first' }, attempts: 1 })
  })

  it('with input that is unfit is dead and tells why, without a dead letter, and its file is gone', async () => {
    const input = [new Uint8Array([1])]
    const { id } = await submitJob({ type: 'import-products', payload: { format: 'csv' }, input }, context())
    const unfit = async () => {
      throw new UnfitInput(invalid('file', `is unfit ${'x'.repeat(9_000)}`))
    }
    expect(await run(id, unfit)).toEqual({ jobId: id, ran: true })
    const { state, attempts, error } = await getJob(id, context())
    expect({ state, attempts }).toEqual({ state: 'dead', attempts: 1 })
    expect(error).toMatch(/^validation_failed: file: is unfit x{3900,}$/)
    expect(error).toHaveLength(4_000)
    expect(await sql`select 1 from dead_letters`).toHaveLength(0)
    expect(await sql`select 1 from job_inputs`).toHaveLength(0)
    expect(await sql`select 1 from jobs where lease is not null or locked_until is not null`).toHaveLength(0)
    expect(await run(id, unfit)).toEqual({ jobId: id, ran: false })
  })

  it('with input that is unfit is left alone by an attempt that it is not in the hands of any more', async () => {
    const { id } = await submit()
    const late = run(id, async () => {
      await sql`update jobs set lease = 'another'`
      throw new UnfitInput(invalid('file', 'is unfit'))
    })
    await expect(late).rejects.toMatchObject({ code: 'busy' })
    expect(await getJob(id, context())).toMatchObject({ state: 'running', error: null })
  })

  it('begins its result anew in the next attempt', async () => {
    const { id } = await submit()
    const failing = run(id, async (_, { save }) => {
      await save([{ attempt: 1 }], 1, 2)
      await save([{ attempt: 1 }], 2, 2)
      throw new Error('at the end')
    })
    await expect(failing).rejects.toThrow('at the end')
    await sql`update jobs set state = 'retrying', lease = null, locked_until = null`
    await run(id, async (_, { save }) => {
      await save([{ attempt: 2 }, { attempt: 2 }], 2, 2)
      return {}
    })
    expect(await rowsOf(id)).toEqual([[0, [{ attempt: 2 }, { attempt: 2 }]]])
    expect(await getJob(id, context())).toMatchObject({ attempts: 2, progress: { done: 2, total: 2 } })
  })

  it('can’t go on once another attempt has taken it up, and leaves nothing in that one’s result', async () => {
    const { id } = await submit()
    const busy = expect.objectContaining({ code: 'busy' })
    const slow = run(id, async (_, { progress, save, step }) => {
      await sql`update jobs set state = 'retrying', lease = null, locked_until = null`
      await run(id, async (__, other) => {
        await other.save([{ by: 'second' }], 1, 1)
        await expect(save([{ by: 'first' }], 1, 1)).rejects.toEqual(busy)
        await expect(progress(1, 1)).rejects.toEqual(busy)
        await expect(step(async () => ({ done: 1, total: 1, checkpoint: {} }))).rejects.toEqual(busy)
        return { by: 'second' }
      })
      return { by: 'first' }
    })
    await expect(slow).rejects.toEqual(busy)
    expect(await getJob(id, context())).toMatchObject({ state: 'succeeded', result: { by: 'second' } })
    expect(await rowsOf(id)).toEqual([[0, [{ by: 'second' }]]])
  })

  it('keeps what a step has written with how far it is, for the next attempt to go on from', async () => {
    const { id } = await submit()
    const failing = run(id, async (_, { checkpoint, step }) => {
      expect(checkpoint).toBeNull()
      await step(async (tx) => {
        await tx`insert into inbox (consumer, event_id) values ('first step', ${randomUUID()})`
        return { done: 1, total: 3, checkpoint: { at: 'one' } }
      })
      await step(async (tx) => {
        await tx`insert into inbox (consumer, event_id) values ('second step', ${randomUUID()})`
        throw new Error('in the middle')
      })
      return {}
    })
    await expect(failing).rejects.toThrow('in the middle')
    expect(await getJob(id, context())).toMatchObject({ progress: { done: 1, total: 3 } })
    expect(await sql`select consumer from inbox`).toEqual([{ consumer: 'first step' }])
    await sql`update jobs set state = 'retrying', lease = null, locked_until = null`
    await run(id, async (_, { checkpoint }) => ({ checkpoint }))
    expect((await getJob(id, context())).result).toEqual({ checkpoint: { at: 'one' } })
    expect(await sql`select checkpoint from jobs`).toEqual([{ checkpoint: null }])
  })

  it('reads its file in every attempt, and no longer has it once it has succeeded', async () => {
    const input = [Buffer.from('one, '), Buffer.from('two')]
    const { id } = await submitJob({ type: 'verify-ledger', payload: {}, input }, context())
    const failing = run(id, async (_, job) => {
      throw new Error(`read ${await text(job.input())}`)
    })
    await expect(failing).rejects.toThrow('read one, two')
    await sql`update jobs set state = 'retrying', lease = null, locked_until = null`
    await run(id, async (_, job) => ({ read: await text(job.input()) }))
    expect((await getJob(id, context())).result).toEqual({ read: 'one, two' })
    expect(await sql`select 1 from job_inputs`).toHaveLength(0)
  })

  it('has failed when it takes longer than its type may, and can change nothing after that', async () => {
    const { id } = await submit()
    const { timeoutMs } = jobTypes['export-stock']
    Object.assign(jobTypes['export-stock'], { timeoutMs: 20 })
    try {
      const claim = await claimOne()
      let goOn = () => {}
      const late = new Promise<void>((resolve) => {
        goOn = resolve
      })
      let saved: Promise<void> | undefined
      const slow = run(
        id,
        (_, { save }) => late.then(() => (saved = save([{ by: 'late' }], 1, 1))).then(() => ({})),
        claim.id,
      )
      await expect(slow).rejects.toMatchObject({ code: 'unavailable', detail: 'The attempt took longer than 20 ms.' })
      await recordFailure(claim, { verdict: 'retry', error: 'late' })
      goOn()
      await vi.waitFor(() => expect(saved).toBeDefined())
      await expect(saved).rejects.toMatchObject({ code: 'busy' })
      expect(await getJob(id, context())).toMatchObject({ state: 'retrying', error: 'late' })
      expect(await rowsOf(id)).toEqual([])
    } finally {
      Object.assign(jobTypes['export-stock'], { timeoutMs })
    }
  })

  it.each([
    ['a type that nobody knows', (sql) => sql`update jobs set type = 'make-coffee'`, 'type'],
    ['a type that every object has', (sql) => sql`update jobs set type = 'constructor'`, 'type'],
    ['a payload that nobody can read', (sql) => sql`update jobs set payload = '{"format": "pdf"}'`, 'payload.format'],
    ['a payload that is none', (sql) => sql`update jobs set payload = '7'`, 'payload'],
  ] as Array<[string, (run: typeof sql) => Promise<unknown>, string]>)(
    'refuses %s for good',
    async (_, spoil, path) => {
      const { id } = await submit()
      await spoil(sql)
      const failing = run(id, async () => ({}))
      await expect(failing).rejects.toMatchObject({ code: 'validation_failed', issues: [{ path }] })
    },
  )

  it('refuses a job that is not there for good', async () => {
    await expect(run(randomUUID(), async () => ({}))).rejects.toMatchObject({ code: 'job_not_found' })
  })
})

for (const { where, isThere, start } of adapters) {
  describe.skipIf(!isThere)(`submitting a job that waits ${where}`, () => {
    let stop = async () => {}
    beforeAll(async () => {
      stop = await start()
    })
    afterAll(() => stop())

    it('is part of the change that asks for it', async () => {
      const request = { type: 'verify-ledger', payload: {} } as const
      await expectNoEffect(async () => {
        const failing = transaction(context(), async (tx) => {
          await submitJob(request, context(), tx)
          throw new Error('the change failed')
        })
        await expect(failing).rejects.toThrow('the change failed')
      })
      const job = await transaction(context(), (tx) => submitJob(request, context(), tx))
      expect(await getJob(job.id, context())).toEqual(job)
    })
  })
}

it('a job with a file is refused while a hundred wait, 75 of them one submitter’s, but for those of jobs that are dead', async () => {
  const request = { type: 'verify-ledger', payload: {}, input: [new Uint8Array([1])] } as const
  const [one, other] = [systemContext('api-key:one'), systemContext('api-key:other')]
  const refused = (submitter: RequestContext) =>
    expectNoEffect(() => expect(submitJob(request, submitter)).rejects.toMatchObject({ code: 'overloaded' }))
  for (let made = 0; made < 75; made++) await submitJob(request, one)
  await refused(one)
  for (let made = 0; made < 25; made++) await submitJob(request, other)
  await refused(other)
  await sql`update jobs set state = 'dead' where id = (select id from jobs order by id desc limit 1)`
  await submitJob(request, other)
})
