import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase } from '#database'
import { blocked, inRivalSession, sql } from '#testing'
import { openProxy } from '#testing/proxy'
import { inRabbit, type JobsBroker, rabbitUrl, useBroker } from '#testing/rabbit'
import { renewLease } from '../attempts/claim.ts'
import { acknowledge, deferred, emptyJobs, row, start, stopAll, submit, until } from '../testing/work.ts'
import { claimDelivery } from './deliveries.ts'

// Guarantees of the broker only; the guarantees of any queue are tested in work.test.ts and lost.test.ts.

describe.skipIf(rabbitUrl === undefined)(`a worker whose queue is ${inRabbit}`, () => {
  let broker: JobsBroker
  beforeAll(async () => {
    broker = await useBroker(rabbitUrl ?? '')
  })
  afterAll(() => broker?.stop())
  beforeEach(emptyJobs)
  afterEach(stopAll)

  const queue = (type = 'verify-ledger') => `${broker.settings.JOBS_QUEUE}.${type}`

  const send = (content: string, properties: object = {}) =>
    broker.withChannel(async (channel) => {
      channel.sendToQueue(queue(), Buffer.from(content), { persistent: true, ...properties })
      await channel.waitForConfirms()
    })

  /** The next dead message. */
  async function nextDead() {
    const get = () => broker.withChannel((channel) => channel.get(queue('dead'), { noAck: true }))
    let message = await get()
    await until(async () => {
      message ||= await get()
      expect(message).toBeTruthy()
    })
    return message || undefined
  }

  /** How many messages wait in the queue, without those that are delivered to workers. */
  const waiting = async () => (await broker.withChannel((channel) => channel.checkQueue(queue()))).messageCount

  it.each([
    ['is no JSON', '{"jobId":', 'It is not JSON.'],
    ['names no job', '{"job":1}', 'It names no job.'],
    ['is too large for one', JSON.stringify({ jobId: 'x'.repeat(20_000) }), 'It has 20012 bytes.'],
    ['names a job that is not there', JSON.stringify({ jobId: randomUUID() }), 'There is no such job.'],
  ])('puts a message that %s among the dead, as it is, with the reason', async (_, content, reason) => {
    const worker = start(() => acknowledge)
    await send(content, { messageId: 'poison', type: 'make-coffee', headers: { colour: 'red' } })
    const dead = await nextDead()
    expect(dead?.content.toString()).toBe(content)
    expect(dead?.properties).toMatchObject({
      messageId: 'poison',
      type: 'make-coffee',
      headers: { colour: 'red', reason },
    })
    // The worker goes on with the next message.
    const { id } = await submit()
    await until(async () => expect(await row(id)).toMatchObject({ state: 'succeeded' }))
    expect(worker.jobIds).toEqual([id])
    expect(await waiting()).toBe(0)
  })

  it('puts a message among the dead that has ended the connection of its worker 21 times', async () => {
    await send('{}')
    for (let deliveries = 0; deliveries <= 20; deliveries++) {
      await until(async () => expect(await broker.withChannel((channel) => channel.get(queue()))).toBeTruthy())
    }
    expect((await nextDead())?.content.toString()).toBe('{}')
  })

  it('runs a job once, however many messages tell of it, at once or later', async () => {
    const { id } = await submit()
    const tell = () => Promise.all(Array.from({ length: 10 }, () => send(JSON.stringify({ jobId: id }))))
    await tell()
    const worker = start(() => acknowledge)
    await until(async () => expect(await row(id)).toMatchObject({ state: 'succeeded', attempts: 1 }))
    await tell()
    await until(async () => expect(await waiting()).toBe(0))
    expect(worker.jobIds).toEqual([id])
  })

  it('takes over the job of a message that comes again, under a new lease, and leaves the one before nothing to write', async () => {
    const { id: jobId } = await submit()
    const message = { jobId, messageId: randomUUID() }
    const first = await claimDelivery({ ...message, isRedelivered: false })
    if (typeof first === 'string') throw new Error(first)
    // Another message of the same job is not enough.
    expect(await claimDelivery({ ...message, messageId: randomUUID(), isRedelivered: true })).toBe('none')
    const second = await claimDelivery({ ...message, isRedelivered: true })
    expect(await row(jobId)).toMatchObject({ state: 'running', attempts: 2, lease: (second as typeof first).id })
    expect(await renewLease(first)).toBe(false)
  })

  it('runs a job at once whose claim was committed, and the answer lost', async () => {
    const { DATABASE_URL: home = '' } = environment()
    const { id } = await submit()
    let stage: 'before' | 'claimed' | 'lost' = 'before'
    const proxy = await openProxy(home, (bytes) => {
      // A lease consists of a message's id and an id of its own.
      if (stage === 'before' && /[0-9a-f-]{36}:[0-9a-f-]{36}/.test(bytes.toString('latin1'))) stage = 'claimed'
      if (stage !== 'claimed' || !bytes.includes('COMMIT\0')) return bytes
      stage = 'lost'
      proxy.cut()
      setTimeout(() => proxy.mend(), 100)
      return Buffer.alloc(0)
    })
    try {
      overrideEnvironment({ DATABASE_URL: proxy.url })
      await closeDatabase()
      const worker = start(() => acknowledge)
      await until(() => expect(stage).toBe('lost'))
      await until(async () => expect(await row(id)).toMatchObject({ state: 'succeeded', attempts: 2 }))
      expect(worker.jobIds).toEqual([id])
      await stopAll()
    } finally {
      overrideEnvironment({ DATABASE_URL: home })
      await closeDatabase()
      await proxy.close()
    }
  })

  it('does not take over a last attempt: the worker may be alive, and its lease will tell', async () => {
    const { id: jobId } = await submit()
    await sql`update jobs set attempts = 4`
    const message = { jobId, messageId: randomUUID() }
    const first = await claimDelivery({ ...message, isRedelivered: false })
    expect(await claimDelivery({ ...message, isRedelivered: true })).toBe('none')
    expect(await row(jobId)).toMatchObject({ attempts: 5, lease: (first as { id: string }).id })
  })

  it('claims each job once, of many messages at once', async () => {
    const jobs = await Promise.all(Array.from({ length: 20 }, () => submit()))
    const copies = [...jobs, ...jobs, ...jobs].map(({ id }) => ({
      jobId: id,
      messageId: randomUUID(),
      isRedelivered: false,
    }))
    const claims = (await Promise.all(copies.map(claimDelivery))).filter((claim) => claim !== 'none')
    expect(claims.map((claim) => (claim as { jobId: string }).jobId).sort()).toEqual(jobs.map(({ id }) => id).sort())
  })

  it('hands the message back with the job when it is stopped in the middle, so that another goes on at once', async () => {
    const { id } = await submit()
    const { promise: finished, resolve: finish } = deferred()
    const stopped = start(() => finished.then(() => acknowledge))
    await until(() => expect(stopped.jobIds).toEqual([id]))
    await stopped.stop()
    expect(await row(id)).toMatchObject({ state: 'queued', attempts: 0, lease: null })
    const next = start(() => acknowledge)
    await until(async () => expect(await row(id)).toMatchObject({ state: 'succeeded', attempts: 1 }))
    finish()
    expect(next.jobIds).toEqual([id])
  })

  it('hands back what it was about to begin when it is stopped, before that is done', async () => {
    const { id } = await submit()
    await sql`update jobs set attempts = 4`
    await inRivalSession(async (rival) => {
      // A claim waits for this lock, and so does a round of overdue jobs. The look for lost jobs does not.
      await rival`lock table jobs in share mode`
      const worker = start(() => acknowledge)
      await blocked(1, 'attempts = attempts + 1')
      const afterStop = worker.stop().then(() => row(id))
      // By now the worker would have ended if it did not wait for the claim's outcome.
      await waiting()
      await rival`rollback`
      expect(await afterStop).toMatchObject({ state: 'retrying', attempts: 4, lease: null })
      expect(worker.jobIds).toEqual([])
    })
  })
})
