import { afterEach, describe, expect, it } from 'vitest'
import { openProxy } from '#testing/proxy'
import { inRabbit, rabbitUrl, useBroker } from '#testing/rabbit'
import { jobTypes } from '../job-types.ts'
import { acknowledge, deferred, row, start, stopAll, submit, until } from '../testing/work.ts'

afterEach(stopAll)

describe.skipIf(rabbitUrl === undefined)(`a worker that has lost its connection to a queue ${inRabbit}`, () => {
  it('has no more jobs of a type in hand than a process may, those from before counted', async () => {
    const { concurrency } = jobTypes['export-stock']
    const proxy = await openProxy(rabbitUrl ?? '')
    const broker = await useBroker(proxy.url)
    const waiting = () =>
      broker.withChannel(
        async (channel) => (await channel.checkQueue(`${broker.settings.JOBS_QUEUE}.export-stock`)).messageCount,
      )
    const { promise: finished, resolve: finish } = deferred()
    try {
      for (let count = 0; count < 3 * concurrency; count++) await submit('export-stock')
      const worker = start(({ type }) =>
        (type === 'export-stock' ? finished : Promise.resolve()).then(() => acknowledge),
      )
      await until(() => expect(worker.jobIds).toHaveLength(concurrency))
      await until(async () => expect(await waiting()).toBe(2 * concurrency))
      proxy.cut()
      proxy.mend()
      // The messages of running jobs were delivered again and acknowledged at once; the next messages were delivered behind them.
      await until(async () => expect(await waiting()).toBe(concurrency))
      const other = await submit('verify-ledger')
      await until(async () => expect(await row(other.id)).toMatchObject({ state: 'succeeded' }))
      expect(worker.jobIds).toHaveLength(concurrency + 1)
      finish()
      await until(() => expect(worker.jobIds).toHaveLength(3 * concurrency + 1))
    } finally {
      finish()
      await stopAll()
      await broker.stop()
      await proxy.close()
    }
  })
})
