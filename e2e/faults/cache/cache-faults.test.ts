import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { cached, closeCache, invalidate } from '#cache'
import { overrideEnvironment } from '#config'
import { systemContext, transaction } from '#database'
import { renderMetrics } from '#telemetry'
import '#testing'
import { openProxy } from '#testing/proxy'
import { inRedis, redisUrl } from '#testing/redis'
import { type RunningRedis, startRedis } from '../../../infra/local/engines/redis.ts'
import { closeBuckets, takeToken } from '../../../shared/access/token-bucket.ts'

// Each test has its own Redis, which is stopped, paused and started again while it is in use.

const options = { name: 'test', key: 'key', group: 'group', freshMs: 60_000 }
const context = () => systemContext('function:test')
let redis: RunningRedis
let loads = 0

const read = (value: string) =>
  cached(options, context(), async () => {
    loads++
    return value
  })

/** Resolves once a read value is kept in the cache and read from there. */
const isUsed = () =>
  vi.waitFor(
    async () => {
      await read('kept')
      const before = loads
      await read('kept')
      expect(loads).toBe(before)
    },
    { timeout: 15_000, interval: 50 },
  )

async function metric(name: string): Promise<number> {
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(await renderMetrics())?.[1] ?? 0)
}

/** Returns how long the slowest of many runs takes. */
async function slowestMs(count: number, work: () => Promise<unknown>): Promise<number> {
  const times = Array.from({ length: count }, async () => {
    const startedAt = performance.now()
    await work()
    return performance.now() - startedAt
  })
  return Math.max(...(await Promise.all(times)))
}

describe.skipIf(redisUrl === undefined)(`a cache ${inRedis}, which fails`, () => {
  beforeEach(async () => {
    redis = await startRedis()
    overrideEnvironment({ CACHE_URL: redis.url })
    await Promise.all([closeCache(), closeBuckets()])
    loads = 0
    await isUsed()
    loads = 0
  })
  afterEach(async () => {
    await Promise.all([closeCache(), closeBuckets()])
    overrideEnvironment({ CACHE_URL: undefined })
    await redis.stop()
  })

  it('by going away costs no read more than a moment, fails none, and is used again once it is back', async () => {
    const port = Number(new URL(redis.url).port)
    await redis.stop()
    for (let round = 0; round < 20; round++) expect(await read(`load ${round}`)).toBe(`load ${round}`)
    expect(loads).toBe(20)
    expect(await metric('redis_breaker_open')).toBe(1)
    expect(await slowestMs(500, () => read('many'))).toBeLessThan(500)
    redis = await startRedis({ port })
    await isUsed()
    expect(await metric('redis_breaker_open')).toBe(0)
  })

  it('by going silent costs a quarter of a second, five times at most, and nothing after that', async () => {
    process.kill(redis.pid, 'SIGSTOP')
    for (let burst = 0; burst < 5; burst++) expect(await slowestMs(100, () => read('silent'))).toBeLessThan(1_000)
    expect(await metric('redis_breaker_open')).toBe(1)
    expect(await slowestMs(500, () => read('silent'))).toBeLessThan(500)
    process.kill(redis.pid, 'SIGCONT')
    await isUsed()
  })

  it('by vanishing without a word fails no read, and is used again once it can be reached, on another connection', async () => {
    const network = await openProxy(redis.url)
    try {
      overrideEnvironment({ CACHE_URL: network.url })
      await Promise.all([closeCache(), closeBuckets()])
      await isUsed()
      // The existing connection is frozen for good: nobody will ever answer on it or close it.
      network.freeze()
      for (let round = 0; round < 10; round++) expect(await read(`load ${round}`)).toBe(`load ${round}`)
      expect(await metric('redis_breaker_open')).toBe(1)
      // The client keeps trying to reconnect by itself while that fails.
      const patiently = { timeout: 20_000, interval: 50 }
      await vi.waitFor(() => expect(network.swallowed()).toBeGreaterThanOrEqual(2), patiently)
      expect(await read('without')).toBe('without')
      network.mend()
      await isUsed()
      expect(await metric('redis_breaker_open')).toBe(0)
    } finally {
      await Promise.all([closeCache(), closeBuckets()])
      await network.close()
    }
  })

  it('does not keep what was changed while it was away: it learns of it when it is back', async () => {
    process.kill(redis.pid, 'SIGSTOP')
    const changed = context()
    await transaction(changed, async (tx) => tx`select 1`)
    invalidate(['group'], changed.response.consistencyToken ?? '')
    await sleep(300)
    process.kill(redis.pid, 'SIGCONT')
    await vi.waitFor(async () => expect(await read('changed')).toBe('changed'), {
      timeout: 10_000,
      interval: 50,
    })
  })

  it('leaves each process to count requests by itself, and that is told', async () => {
    const size = { ratePerSecond: 0.001, burst: 3 }
    expect((await takeToken('key', size)).remaining).toBe(2)
    await redis.stop()
    const before = await metric('rate_limit_local_total')
    const taken = []
    for (let count = 0; count < 5; count++) taken.push(await takeToken('key', size))
    expect(taken.map(({ isAllowed }) => isAllowed)).toEqual([true, true, true, false, false])
    expect((await metric('rate_limit_local_total')) - before).toBe(5)
  })
})

describe('a Redis that still loads its data', () => {
  // As a restarted Redis with gigabytes to read would answer for minutes.
  const loading = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () => socket.write('$11\r\nloading:1\r\n\r\n'))
  })

  beforeAll(async () => {
    loading.listen(0, '127.0.0.1')
    await once(loading, 'listening')
    overrideEnvironment({ CACHE_URL: `redis://127.0.0.1:${(loading.address() as AddressInfo).port}` })
    await Promise.all([closeCache(), closeBuckets()])
  })
  afterAll(async () => {
    await Promise.all([closeCache(), closeBuckets()])
    overrideEnvironment({ CACHE_URL: undefined })
    loading.close()
  })

  it('keeps no read and no request waiting', async () => {
    const size = { ratePerSecond: 0.001, burst: 3 }
    expect(await slowestMs(100, () => read('without'))).toBeLessThan(1_500)
    expect(await slowestMs(100, async () => takeToken('loading', size))).toBeLessThan(1_500)
    expect(await slowestMs(100, () => read('without'))).toBeLessThan(1_000)
  })
})
