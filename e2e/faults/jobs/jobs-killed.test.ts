import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { inRivalSession, sql } from '#testing'
import { inRabbit, type JobsBroker, rabbitUrl, useBroker } from '#testing/rabbit'
import { draw, expectAllDone, type JobsProcess, killAll, seeds, startProcess, submitMany } from './jobs-fixture.ts'

// Processes that take jobs from a broker, or send jobs to it, are killed in the middle of their work. In the end each job is done once.
//
// `JOBS_SEED=<seed> npx vitest run e2e/faults/jobs/jobs-killed.test.ts` repeats the same kills, deliveries and orders. What each
// process is doing at that moment depends on the machine.

describe.skipIf(rabbitUrl === undefined)(`jobs that wait ${inRabbit} are done once, none lost and none stuck`, () => {
  let broker: JobsBroker
  const processes: JobsProcess[] = []
  const start = async (...args: Parameters<typeof startProcess>) => {
    const started = await startProcess(...args)
    processes.push(started)
    return started
  }

  // Each test has its own queues: the jobs of a killed process return to them.
  beforeEach(async () => {
    broker = await useBroker(rabbitUrl ?? '', { dispatch: false })
    await sql`truncate jobs, job_dispatches cascade`
  })
  afterEach(async () => {
    await killAll(processes)
    await broker.stop()
  })

  const queueName = () => `${broker.settings.JOBS_QUEUE}.verify-ledger`
  const queue = () => broker.withChannel((channel) => channel.checkQueue(queueName()))

  const ROUNDS = 4
  const JOBS = 80
  const kills = fc.array(fc.record({ begun: fc.integer({ min: 1, max: 8 }), which: fc.nat(2) }), {
    minLength: ROUNDS,
    maxLength: ROUNDS,
  })

  it.each(seeds(2))(
    'by kill -9 of workers in the middle of jobs (JOBS_SEED=%i)',
    async (seed) => {
      await start('dispatch-jobs', broker)
      const workers = await Promise.all([1, 2, 3].map(() => start('process-job', broker, { workMs: 600 })))
      for (const { begun, which } of draw(kills, seed)) {
        await vi.waitFor(async () => expect((await queue()).consumerCount).toBe(3), { timeout: 20_000 })
        await submitMany(JOBS)
        const victim = workers[which]
        await vi.waitFor(() => expect(victim?.begun()).toBeGreaterThanOrEqual(begun), { timeout: 20_000, interval: 1 })
        await victim?.kill()
        await victim?.restart()
      }
      await expectAllDone(ROUNDS * JOBS, broker)
      // Otherwise no process was killed in the middle of a job.
      expect((await sql`select 1 from jobs where attempts > 1`).length).toBeGreaterThan(0)
    },
    120_000,
  )

  it('by kill -9 of the dispatcher after the broker has confirmed, before that is written down', async () => {
    await submitMany(500)
    const queued = async () => (await queue()).messageCount
    const dispatcher = await inRivalSession(async (rival) => {
      await rival`select 1 from job_dispatches for update`
      const started = await start('dispatch-jobs', broker)
      // All jobs are sent to the broker, and none can be removed as long as this session holds them.
      await vi.waitFor(async () => expect(await queued()).toBe(500), { timeout: 20_000 })
      await started.kill()
      return started
    })
    expect(await sql`select 1 from job_dispatches`).toHaveLength(500)
    await dispatcher.restart()
    await vi.waitFor(async () => expect(await queued()).toBe(1_000), { timeout: 20_000 })
    await Promise.all([start('process-job', broker), start('process-job', broker)])
    await expectAllDone(500, broker)
    expect(await sql`select 1 from jobs where attempts > 1`).toEqual([])
  }, 120_000)

  it.each(seeds(1))(
    'when every message comes ten times, in any order (JOBS_SEED=%i)',
    async (seed) => {
      await submitMany(200)
      await sql`truncate job_dispatches`
      const ids = (await sql<Array<{ id: string }>>`select id from jobs`).map(({ id }) => id)
      const messages = ids.flatMap((id) => Array.from({ length: 10 }, () => ({ id, messageId: randomUUID() })))
      const order = draw(fc.shuffledSubarray(messages, { minLength: messages.length }), seed)
      await broker.withChannel(async (channel) => {
        for (const { id, messageId } of order) {
          const content = Buffer.from(JSON.stringify({ jobId: id }))
          channel.sendToQueue(queueName(), content, { persistent: true, messageId })
        }
        await channel.waitForConfirms()
      })
      await Promise.all([1, 2, 3].map(() => start('process-job', broker, { workMs: 20 })))
      await expectAllDone(200, broker)
      expect(await sql`select 1 from jobs where attempts > 1`).toEqual([])
    },
    120_000,
  )
})
