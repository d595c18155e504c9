import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { cached, closeCache } from '#cache'
import { overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { logger, renderMetrics } from '#telemetry'
import '#testing'
import { openProxy } from '#testing/proxy'
import { inRedis, redisUrl } from '#testing/redis'
import { certify } from '../../../infra/local/engines/certificate.ts'
import { type RunningRedis, startRedis } from '../../../infra/local/engines/redis.ts'
import { freePort } from '../../../infra/local/ports.ts'
import { closeBuckets, takeToken } from '../../../shared/access/token-bucket.ts'

const run = promisify(execFile)
const running: RunningRedis[] = []
const warn = vi.spyOn(logger(), 'warn')

async function start(configuration: Record<string, string> = {}): Promise<RunningRedis> {
  const redis = await startRedis({ configuration })
  running.push(redis)
  return redis
}

async function use(url: string): Promise<void> {
  overrideEnvironment({ CACHE_URL: url })
  await Promise.all([closeCache(), closeBuckets()])
}

const portOf = ({ url }: RunningRedis) => new URL(url).port
const command = (redis: RunningRedis, ...words: string[]) => run('redis-cli', ['-p', portOf(redis), ...words])

/** Whether a value comes from the cache the second time it is read, and requests are counted in Redis. Neither may fail. */
async function isUsed(): Promise<boolean> {
  let loads = 0
  const key = randomUUID()
  const read = () =>
    cached({ name: 'test', key, group: 'group', freshMs: 60_000 }, systemContext('function:test'), async () => {
      loads++
      return 'value'
    })
  await read()
  const before = loads
  expect(await read()).toBe('value')
  const local = () => /^rate_limit_local_total (\S+)$/m
  const countedBefore = local().exec(await renderMetrics())?.[1]
  await takeToken('key', { ratePerSecond: 1_000, burst: 1_000 })
  return loads === before && countedBefore === local().exec(await renderMetrics())?.[1]
}

const becomes = (used: boolean) =>
  vi.waitFor(async () => expect(await isUsed()).toBe(used), { timeout: 15_000, interval: 50 })

/** Counts the matching warnings. There is one for each connection: the cache's and the rate limit's. */
const said = (message: RegExp) => warn.mock.calls.filter(([, text]) => message.test(String(text))).length

afterEach(async () => {
  await Promise.all([closeCache(), closeBuckets()])
  overrideEnvironment({ CACHE_URL: undefined })
  for (const redis of running.splice(0)) await redis.stop()
  warn.mockClear()
})

describe.skipIf(redisUrl === undefined)(`a cache ${inRedis}, which refuses`, () => {
  it('changes, having become a replica, is left for the primary that is at its address by then', async () => {
    const [former, next] = [await start(), await start()]
    const network = await openProxy(former.url)
    try {
      await use(network.url)
      await becomes(true)
      await command(former, 'replicaof', '127.0.0.1', portOf(next))
      network.mend(next.url)
      await becomes(true)
      expect((await command(next, 'keys', '*')).stdout).toContain('cache:{group}:')
      expect(said(/has become a replica/)).toBeGreaterThan(0)
      expect(said(/has become a replica/)).toBeLessThanOrEqual(2)
    } finally {
      await Promise.all([closeCache(), closeBuckets()])
      await network.close()
    }
  })

  it('a password says so once, whatever is asked of it, and is done without', async () => {
    const redis = await start({ requirepass: 'geheim' })
    await use(`redis://:falsch@127.0.0.1:${portOf(redis)}`)
    for (let round = 0; round < 20; round++) expect(await isUsed()).toBe(false)
    expect(said(/refuses the user and password of CACHE_URL/)).toBeGreaterThan(0)
    expect(said(/refuses the user and password of CACHE_URL/)).toBeLessThanOrEqual(2)
    expect(JSON.stringify(warn.mock.calls)).not.toContain('falsch')
    await use(`redis://:geheim@127.0.0.1:${portOf(redis)}`)
    await becomes(true)
  })

  it('changes for want of memory, is done without, and used again once it has some', async () => {
    const redis = await start()
    await use(redis.url)
    await becomes(true)
    await command(redis, 'config', 'set', 'maxmemory', '1')
    for (let round = 0; round < 5; round++) expect(await isUsed()).toBe(false)
    expect(said(/Redis is full/)).toBeGreaterThan(0)
    await command(redis, 'config', 'set', 'maxmemory', '0')
    await becomes(true)
  })

  it('changes because it can not save them, is done without, and used again once it can', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'redis-gone-'))
    const redis = await start({ dir: folder, save: '3600 1' })
    await use(redis.url)
    await becomes(true)
    await rm(folder, { recursive: true })
    await command(redis, 'bgsave')
    await vi.waitFor(async () => {
      expect((await command(redis, 'info', 'persistence')).stdout).toContain('rdb_last_bgsave_status:err')
    })
    for (let round = 0; round < 5; round++) expect(await isUsed()).toBe(false)
    expect(said(/can not save its data/)).toBeGreaterThan(0)
    await command(redis, 'config', 'set', 'save', '')
    await becomes(true)
  })

  it('what other nodes of its cluster have is no cache, and that is said', async () => {
    const redis = await start({ 'cluster-enabled': 'yes', databases: '1' })
    // Another server has half of the slots: some keys are moved, and several keys at once are in different slots.
    await command(redis, 'cluster', 'addslotsrange', '0', '8000')
    await use(redis.url)
    for (let round = 0; round < 10; round++) await isUsed()
    expect(said(/Redis Cluster, which is not supported/)).toBeGreaterThan(0)
    expect(said(/Redis Cluster, which is not supported/)).toBeLessThanOrEqual(4)
  })

  it('connections without TLS is used by rediss://, with an authority of its own', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'redis-tls-'))
    try {
      const { authority, certificate, key } = await certify(folder)
      const port = String(await freePort())
      const files = { 'tls-cert-file': certificate, 'tls-key-file': key, 'tls-ca-cert-file': authority }
      running.push(
        await startRedis({
          port: Number(port),
          configuration: { port: '0', 'tls-port': port, 'tls-auth-clients': 'no', ...files },
        }),
      )
      const url = `rediss://127.0.0.1:${port}`
      await use(url)
      await becomes(false)
      expect(said(/NODE_EXTRA_CA_CERTS/)).toBeGreaterThan(0)
      // Node reads that variable only at its start.
      const store = new URL('../../../shared/redis/connection.ts', import.meta.url).href
      const code = `const { connectRedis } = await import('${store}'); const redis = connectRedis('${url}')
        console.log(await redis.call('ping', (client) => client.ping())); await redis.close()`
      const env = { PATH: process.env.PATH, NODE_EXTRA_CA_CERTS: authority }
      const { stdout } = await run(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', code], {
        env,
      })
      expect(stdout).toBe('PONG\n')
    } finally {
      await rm(folder, { recursive: true })
    }
  }, 30_000)
})
