import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { eventRequest } from '#function'
import { closeJobs } from '#jobs'
import { call, functionNamed, sql } from '#testing'
import { inRabbit, type JobsBroker, rabbitUrl, useBroker } from '#testing/rabbit'
import dispatchJobs from './index.ts'

const submitJob = await functionNamed('submit-job')
const redriveDeadLetters = await functionNamed('redrive-dead-letters')

async function tick(status = 200) {
  const attributes = { id: 'tick', source: 'test', specversion: '1.0', type: 'schedule.tick' } as const
  const response = await dispatchJobs.app.fetch(eventRequest(attributes, {}))
  expect(response.status).toBe(status)
  return response.json()
}

const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

async function submit(type = 'verify-ledger'): Promise<string> {
  const headers = { traceparent, tracestate: 'a=1', baggage: 'tenant=1,customer=7' }
  return (await call(submitJob, { body: { type, payload: {} }, headers })).body.id
}

const waiting = () => sql`select job_id from job_dispatches`

afterEach(async () => {
  await sql`truncate jobs, job_dispatches cascade`
})

describe('dispatch-jobs', () => {
  it('has nothing to do where the table is the queue', async () => {
    await submit()
    expect(await waiting()).toEqual([])
    expect(await tick()).toEqual({ dispatched: 0 })
  })

  it('answers that it can’t now where there is no broker, and keeps what waits', async () => {
    const broker = await useBroker('amqp://127.0.0.1:1', { dispatch: false })
    const id = await submit()
    await tick(503)
    expect([...(await waiting())]).toEqual([{ job_id: id }])
    await broker.stop()
  })
})

describe.skipIf(rabbitUrl === undefined)(`dispatch-jobs, with a queue ${inRabbit},`, () => {
  let broker: JobsBroker
  beforeAll(async () => {
    overrideEnvironment({ BAGGAGE_KEYS: 'tenant' })
    broker = await useBroker(rabbitUrl ?? '', { dispatch: false })
  })
  afterAll(async () => {
    overrideEnvironment({ BAGGAGE_KEYS: undefined })
    await broker?.stop()
  })

  const queue = (name = 'verify-ledger') => `${broker.settings.JOBS_QUEUE}.${name}`

  /** The next message of the queue. */
  const next = async (name?: string) =>
    (await broker.withChannel((channel) => channel.get(queue(name), { noAck: true }))) || undefined

  it('tells of each job once, in a message that outlives the broker and has the job’s trace', async () => {
    const id = await submit()
    expect(await tick()).toEqual({ dispatched: 1 })
    expect(await tick()).toEqual({ dispatched: 0 })
    const message = await next()
    expect(JSON.parse(message?.content.toString() ?? '')).toEqual({ jobId: id })
    expect(message?.properties).toMatchObject({
      deliveryMode: 2,
      messageId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      type: 'verify-ledger',
      contentType: 'application/json',
      headers: {
        traceparent: expect.stringContaining(traceparent.slice(3, 35)),
        tracestate: 'a=1',
        baggage: 'tenant=1',
      },
    })
    expect(await next()).toBeUndefined()
    expect(await waiting()).toEqual([])
  })

  it('tells of more jobs than go into one batch, in their order', async () => {
    await submit()
    await sql`
      insert into jobs (id, type, payload, attempts_max, actor, traceparent)
      select gen_random_uuid(), 'verify-ledger', '{}', 5, 'test', '' from generate_series(1, 2499)`
    await sql`truncate job_dispatches`
    await sql`insert into job_dispatches (job_id) select id from jobs order by id`
    expect(await tick()).toEqual({ dispatched: 2_500 })
    const ids: string[] = []
    await broker.withChannel(async (channel) => {
      const note = (content = '{}') => ids.push(JSON.parse(content).jobId)
      await channel.consume(queue(), (message) => note(message?.content.toString()), { noAck: true })
      await vi.waitFor(() => expect(ids).toHaveLength(2_500), { timeout: 10_000 })
    })
    expect(ids).toEqual((await sql`select id from jobs order by id`).map(({ id }) => id))
  })

  it('tells of a redriven job', async () => {
    const id = await submit()
    await sql`update jobs set state = 'dead', attempts = 5`
    await sql`insert into dead_letters (id, job_id, error, attempts) values (${id}, ${id}, 'x', 5)`
    await sql`truncate job_dispatches`
    await call(redriveDeadLetters, { body: {} })
    await tick()
    const message = await next()
    expect(JSON.parse(message?.content.toString() ?? '')).toEqual({ jobId: id })
    expect(message?.properties.headers).toMatchObject({ tracestate: 'a=1', baggage: 'tenant=1' })
  })

  it('tells of no job that is over, or is in somebody’s hands already', async () => {
    await submit()
    await sql`update jobs set state = 'succeeded'`
    await tick()
    expect(await waiting()).toEqual([])
    expect(await next()).toBeUndefined()
  })

  it.each([
    [300, 1],
    [1_500, 2],
    [12_000, 16],
    [590_000, 600],
    [3_600_000, 600],
  ])('has a job that is due in %i ms wait for %i s', async (dueInMs, seconds) => {
    const id = await submit()
    await sql`update jobs set run_at = now() + ${dueInMs}::int * interval '1 millisecond'`
    await tick()
    const message = await next(`retry.${seconds * 1_000}`)
    expect(JSON.parse(message?.content.toString() ?? '')).toEqual({ jobId: id })
  })

  it('has a job that has waited come to the queue of its type', async () => {
    const id = await submit()
    await sql`update jobs set run_at = now() + interval '300 milliseconds'`
    await tick()
    const message = await vi.waitFor(
      async () => {
        const came = await next()
        expect(came).toBeDefined()
        return came
      },
      { timeout: 10_000 },
    )
    expect(JSON.parse(message?.content.toString() ?? '')).toEqual({ jobId: id })
  })

  it('tells again of jobs that are long due, of the types that the broker has no message of', async () => {
    const lost = await submit()
    await submit('export-stock')
    await tick()
    await next()
    await sql`update jobs set run_at = run_at - interval '2 minutes'`
    // The function checks for overdue jobs as soon as it is connected.
    await closeJobs()
    expect(await tick()).toEqual({ dispatched: 0 })
    expect(await tick()).toEqual({ dispatched: 1 })
    expect(JSON.parse((await next())?.content.toString() ?? '')).toEqual({ jobId: lost })
  })

  it('tells of no job of a type that nobody knows: it dies', async () => {
    await submit()
    await sql`update jobs set type = 'make-coffee'`
    await tick()
    expect(await waiting()).toEqual([])
    await expect(broker.withChannel((channel) => channel.checkQueue(queue('make-coffee')))).rejects.toThrow('NOT_FOUND')
  })

  it('makes the queue of a type anew that was deleted under it', async () => {
    await broker.withChannel((channel) => channel.deleteQueue(queue()))
    const id = await submit()
    await tick()
    const message = await next()
    expect(JSON.parse(message?.content.toString() ?? '')).toEqual({ jobId: id })
    expect(message?.properties.headers).toMatchObject({ tracestate: 'a=1', baggage: 'tenant=1' })
  })

  it('makes a queue for a delay anew that was deleted under it, and loses nothing', async () => {
    await broker.withChannel((channel) => channel.deleteQueue(queue('retry.600000')))
    const id = await submit()
    await sql`update jobs set run_at = now() + interval '1 hour'`
    await tick(503)
    expect([...(await waiting())]).toEqual([{ job_id: id }])
    await tick()
    expect(JSON.parse((await next('retry.600000'))?.content.toString() ?? '')).toEqual({ jobId: id })
  })
})
