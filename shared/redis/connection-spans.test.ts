import { afterEach, expect, it, vi } from 'vitest'
import { shutDown } from '#async'
import { connectRedis } from '#redis'
import { openCollector, traceTo } from '#testing/otlp'
import { inRedis, redisUrl } from '#testing/redis'

afterEach(() => vi.unstubAllEnvs())

it.skipIf(redisUrl === undefined)(
  `a command ${inRedis} is a span of the request that sends it, and fails with it`,
  async () => {
    const collector = await openCollector()
    const redis = connectRedis(redisUrl ?? '')
    const on = await traceTo(collector)
    const request = on?.start('request', { parent: null })
    await on?.run(request, async () => {
      await redis.call('get', (client) => client.get('a key'))
      // The server's answer quotes the arguments.
      await redis.call('nonsense', (client) => client.call('nonsense', 'a key')).catch(() => {})
    })
    request?.end()
    await redis.call('get', (client) => client.get('of no request'))
    await shutDown()
    await redis.close()
    await collector.close()
    const parentSpanId = request?.spanContext().spanId
    const commands = collector.spans.filter(({ kind }) => kind === 'client')
    expect(commands).toMatchObject([
      {
        name: 'get',
        parentSpanId,
        failed: false,
        attributes: { 'db.system.name': 'redis', 'db.operation.name': 'get' },
      },
      { name: 'nonsense', parentSpanId, failed: true, attributes: { 'error.type': 'ReplyError' } },
    ])
    expect(JSON.stringify(commands)).not.toContain('a key')
  },
)
