import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemContext } from '#database'
import { dispatchJobs } from '#jobs'
import { sql } from '#testing'
import { openProxy, type TcpProxy } from '#testing/proxy'
import { inRabbit, type JobsBroker, rabbitUrl, useBroker } from '#testing/rabbit'
import { ensureRabbit, type RunningRabbit, startRabbit } from '../../../infra/local/engines/rabbitmq.ts'
import {
  draw,
  expectAllDone,
  type JobsProcess,
  killAll,
  seeds,
  startProcess,
  submitMany,
  succeeded,
  type Work,
} from './jobs-fixture.ts'

// The broker, or the network to it, fails while it is in use. `JOBS_SEED=<seed>` repeats the same moments.

const processes: JobsProcess[] = []
let broker: JobsBroker

const start = async (role: 'dispatch-jobs' | 'process-job', work?: Work) => {
  processes.push(await startProcess(role, broker, work))
}

const startAll = (work?: Work) =>
  Promise.all([start('dispatch-jobs'), start('process-job', work), start('process-job', work)])

beforeEach(async () => {
  await sql`truncate jobs, job_dispatches cascade`
})

describe.skipIf(rabbitUrl === undefined)(`a broker of their own ${inRabbit}, which fails,`, () => {
  let rabbit: RunningRabbit
  beforeAll(async () => {
    await ensureRabbit(() => {})
    rabbit = await startRabbit()
  }, 90_000)
  afterAll(() => rabbit?.stop())
  beforeEach(async () => {
    broker = await useBroker(rabbit.url, { dispatch: false })
  })
  afterEach(async () => {
    await killAll(processes)
    await broker.stop()
  })

  it.each(seeds(1))(
    'loses none of 10,000 jobs by kill -9, and none is done twice (JOBS_SEED=%i)',
    async (seed) => {
      const JOBS = 10_000
      await submitMany(JOBS)
      // Together they take half the time of eight at once, and a kill finds more of them in flight.
      await startAll({ concurrency: 100 })
      const moments = draw(fc.array(fc.integer({ min: 200, max: JOBS - 2_000 }), { minLength: 2, maxLength: 2 }), seed)
      for (const done of moments.sort((a, b) => a - b)) {
        await succeeded(done)
        await rabbit.kill()
        // Jobs that are submitted meanwhile wait in the database.
        await submitMany(100)
        await rabbit.restart()
      }
      await expectAllDone(JOBS + 200, broker)
    },
    240_000,
  )

  it('keeps nobody waiting while it takes no messages, for want of memory, and has them all once it does', async () => {
    await rabbit.control('set_vm_memory_high_watermark', 'absolute', '20MB')
    await submitMany(20)
    const dispatch = () => dispatchJobs(systemContext('function:test'))
    await expect(dispatch()).rejects.toThrow()
    await expect(dispatch()).rejects.toThrow()
    expect(await sql`select 1 from job_dispatches`).toHaveLength(20)
    await rabbit.control('set_vm_memory_high_watermark', 'absolute', '1GB')
    await startAll()
    await expectAllDone(20, broker)
  }, 120_000)

  it('has its jobs told of again when it comes back with nothing in it', async () => {
    await submitMany(50)
    await start('dispatch-jobs')
    const queue = `${broker.settings.JOBS_QUEUE}.verify-ledger`
    const waiting = async () => (await broker.withChannel((channel) => channel.checkQueue(queue))).messageCount
    await vi.waitFor(async () => expect(await waiting()).toBe(50), { timeout: 20_000 })
    await broker.withChannel((channel) => channel.purgeQueue(queue))
    await start('process-job')
    // As if a minute had passed.
    await sql`update jobs set run_at = run_at - interval '1 minute'`
    await expectAllDone(50, broker)
  }, 120_000)
})

describe.skipIf(rabbitUrl === undefined)(`a network between processes and their queue ${inRabbit}`, () => {
  let proxy: TcpProxy
  beforeAll(async () => {
    if (rabbitUrl) proxy = await openProxy(rabbitUrl)
  })
  afterAll(() => proxy?.close())
  beforeEach(async () => {
    // With the shortest possible heartbeat, a silent peer is noticed in some seconds instead of half a minute.
    const url = `${proxy.url}?heartbeat=1`
    broker = await useBroker(url, { dispatch: false })
  })
  afterEach(async () => {
    proxy.mend()
    await killAll(processes)
    await broker.stop()
  })

  const JOBS = 400
  const FAULT_MS = 300

  it.each([
    ['is cut again and again', () => proxy.cut()],
    // Existing connections stay open, and never receive anything again.
    ['goes silent', () => proxy.freeze()],
    ['is slow', () => proxy.delay(100)],
  ] as Array<[string, () => void]>)(
    'that %s costs no job more than time',
    async (_, fail) => {
      await startAll({ workMs: 20 })
      for (let round = 1; round <= 4; round++) {
        await submitMany(JOBS / 4)
        await succeeded((round - 1) * (JOBS / 4) + 10)
        fail()
        await sleep(FAULT_MS)
        proxy.mend()
      }
      await expectAllDone(JOBS, broker)
    },
    240_000,
  )
})
