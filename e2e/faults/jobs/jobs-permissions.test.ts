import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { closeJobs, dispatchJobs } from '#jobs'
import '#testing'
import { inRabbit, rabbitUrl } from '#testing/rabbit'
import { type RunningRabbit, startRabbit } from '../../../infra/local/engines/rabbitmq.ts'

vi.setConfig({ hookTimeout: 90_000, testTimeout: 30_000 })

let rabbit: RunningRabbit
/** Connects, and makes the queues. */
async function dispatch(user: string, vhost: string): Promise<number> {
  await closeJobs()
  overrideEnvironment({ JOBS_URL: `amqp://${user}:geheim@${new URL(rabbit.url).host}/${encodeURIComponent(vhost)}` })
  return dispatchJobs(systemContext('function:test'))
}

describe.skipIf(rabbitUrl === undefined)(`jobs ${inRabbit}, where rights are given one by one`, () => {
  beforeAll(async () => {
    rabbit = await startRabbit()
    await rabbit.control('add_user', 'stock', 'geheim')
    await rabbit.control('add_vhost', '/a/b')
  })
  afterAll(async () => {
    await closeJobs()
    overrideEnvironment({ JOBS_URL: undefined })
    await rabbit.stop()
  })

  it('need a virtual host of the user, whatever its name, and the rights that are named where they lack', async () => {
    await expect(dispatch('stock', '/none')).rejects.toThrow('RabbitMQ does not have the virtual host of JOBS_URL')
    await expect(dispatch('stock', '/a/b')).rejects.toThrow(
      'RabbitMQ does not have the virtual host of JOBS_URL, or not for',
    )
    await expect(dispatch('nobody', '/a/b')).rejects.toThrow('RabbitMQ refuses the user and password of JOBS_URL')
    await rabbit.control('set_permissions', '-p', '/a/b', 'stock', '^$', '.*', '.*')
    const missing = await dispatch('stock', '/a/b').catch((error: Error) => error.message)
    const [, ...patterns] = /set_permissions -p VHOST USER '(.+)' '(.+)' '(.+)'$/.exec(String(missing)) ?? []
    expect(patterns).toEqual(['^jobs\\.', '^(amq\\.default$|jobs\\.)', '^jobs\\.'])
    await rabbit.control('set_permissions', '-p', '/a/b', 'stock', ...patterns)
    expect(await dispatch('stock', '/a/b')).toBe(0)
  })
})
