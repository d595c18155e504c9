import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { eventRequest } from '#function'
import { call, functionNamed, inRabbit, type JobsBroker, rabbitUrl, sql, useBroker } from '#testing'
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

async function submit(): Promise<string> {
  const headers = { traceparent, tracestate: 'a=1' }
  return (await call(submitJob, { body: { type: 'verify-ledger', payload: {} }, headers })).body.id
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
    await tick(500)
    expect([...(await waiting())]).toEqual([{ job_id: id }])
    await broker.stop()
  })
})

describe.skipIf(rabbitUrl === undefined)(`dispatch-jobs, with a queue ${inRabbit},`, () => {
  let broker: JobsBroker
  beforeAll(async () => {
    broker = await useBroker(rabbitUrl ?? '', { dispatch: false })
  })
  afterAll(() => broker?.stop())

  /** The next message of the queue, or of one of those that go with it. */
  const next = async (suffix = '') => {
    const message = await broker.withChannel((channel) =>
      channel.get(`${broker.settings.JOBS_QUEUE}${suffix}`, { noAck: true }),
    )
    return message || undefined
  }

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
      headers: { traceparent: expect.stringContaining(traceparent.slice(3, 35)), tracestate: 'a=1' },
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
      await channel.consume(broker.settings.JOBS_QUEUE, (message) => note(message?.content.toString()), { noAck: true })
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
    expect(JSON.parse((await next())?.content.toString() ?? '')).toEqual({ jobId: id })
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
    const message = await next(`.delay.${seconds * 1_000}`)
    expect(JSON.parse(message?.content.toString() ?? '')).toEqual({ jobId: id })
  })

  it('makes a queue that was deleted under it anew, and loses nothing', async () => {
    await submit()
    await tick()
    await broker.withChannel((channel) => channel.deleteQueue(broker.settings.JOBS_QUEUE))
    const id = await submit()
    await tick(500)
    expect([...(await waiting())]).toEqual([{ job_id: id }])
    await tick()
    expect(JSON.parse((await next())?.content.toString() ?? '')).toEqual({ jobId: id })
  })
})
