import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { closeJobs, dispatchJobs } from '#jobs'
import { withChannel } from '#jobs/fixture'
import { engineUrl } from './engine.ts'

/** The RabbitMQ of this test run; undefined if there is none, as with `redisUrl`. */
export const rabbitUrl = await engineUrl('rabbitmq')

/** Part of a suite's title, so that a skipped suite shows its reason. */
export const inRabbit = rabbitUrl === undefined ? 'in RabbitMQ (skipped: there is no rabbitmq-server)' : 'in RabbitMQ'

export interface JobsBroker {
  /** The settings that make a process use this broker. */
  settings: { JOBS_URL: string; JOBS_QUEUE: string }
  /** Runs `work` with a channel on a separate connection. */
  withChannel: <Result>(work: Parameters<typeof withChannel<Result>>[1]) => Promise<Result>
  stop: () => Promise<void>
}

/** Makes this process queue its jobs in a broker, under a unique name. Dispatches them continuously unless `dispatch` is false. */
export async function useBroker(url: string, { dispatch = true } = {}): Promise<JobsBroker> {
  const settings = { JOBS_URL: url, JOBS_QUEUE: `test-${randomBytes(4).toString('hex')}` }
  await closeJobs()
  overrideEnvironment(settings)
  // Makes the queues. Without a broker there are none.
  await dispatchJobs(systemContext('function:test')).catch(() => {})
  const dispatching = new AbortController()
  const dispatched = dispatch ? dispatchUntil(dispatching.signal) : undefined
  return {
    settings,
    withChannel: (work) => withChannel(url, work),
    async stop() {
      dispatching.abort()
      await dispatched
      await closeJobs()
      overrideEnvironment({ JOBS_URL: undefined, JOBS_QUEUE: undefined })
    },
  }
}

/** Does the work of the function dispatch-jobs in this process. */
async function dispatchUntil(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await dispatchJobs(systemContext('function:test')).catch(() => {})
    await sleep(20)
  }
}
