import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { closeJobs, dispatchJobs } from '#jobs'
import { withChannel } from '#jobs/fixture'
import { engineUrl } from './engine.ts'

/** The RabbitMQ of this test run; undefined where there is none, as with `redisUrl`. */
export const rabbitUrl = await engineUrl('rabbitmq')

/** Part of a suite's title, so that a skipped one tells its reason. */
export const inRabbit = rabbitUrl === undefined ? 'in RabbitMQ (skipped: there is no rabbitmq-server)' : 'in RabbitMQ'

export interface JobsBroker {
  /** The settings that make a process use it. */
  settings: { JOBS_URL: string; JOBS_QUEUE: string }
  /** On a connection of its own. */
  withChannel: <Result>(work: Parameters<typeof withChannel<Result>>[1]) => Promise<Result>
  stop: () => Promise<void>
}

/** Has this process queue its jobs in a broker, under a name of their own, and dispatches them all the while, unless told otherwise. */
export async function useBroker(url: string, { dispatch = true } = {}): Promise<JobsBroker> {
  const settings = { JOBS_URL: url, JOBS_QUEUE: `test-${randomBytes(4).toString('hex')}` }
  await closeJobs()
  overrideEnvironment(settings)
  // Makes the queues; where there is no broker there are none.
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

/** What the function dispatch-jobs does, in this process. */
async function dispatchUntil(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await dispatchJobs(systemContext('function:test')).catch(() => {})
    await sleep(20)
  }
}
