import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { connectRedis } from '#redis'
import { inRedis, redisUrl } from '#testing/redis'
import { createMemoryBuckets, createRedisBuckets, type TokenBuckets } from './token-bucket.ts'

let counter = 0
const newName = () => `test-${process.pid}-${++counter}`

for (const { where, open, isThere } of [
  { where: 'in memory', open: () => createMemoryBuckets(), isThere: true },
  { where: inRedis, open: () => createRedisBuckets(connectRedis(redisUrl ?? '')), isThere: redisUrl !== undefined },
]) {
  describe.skipIf(!isThere)(`token buckets ${where}`, () => {
    const buckets: TokenBuckets = open()
    afterAll(() => buckets.close())

    /** Too slow to return a token while a test runs. */
    const frozen = { ratePerSecond: 0.001, burst: 5 }

    it('begin full, and tell what is left and how long it takes', async () => {
      const name = newName()
      expect(await buckets.take(name, { ratePerSecond: 10, burst: 20 })).toMatchObject({
        isAllowed: true,
        remaining: 19,
      })
      const { remaining, fullAfterSeconds, tokenAfterSeconds } = await buckets.take(name, {
        ratePerSecond: 10,
        burst: 20,
      })
      expect(remaining).toBe(18)
      expect(fullAfterSeconds).toBeGreaterThan(0.1)
      expect(fullAfterSeconds).toBeLessThanOrEqual(0.2)
      expect(tokenAfterSeconds).toBe(0)
    })

    it('give as many tokens as they hold, and no more, whoever asks at once', async () => {
      const name = newName()
      const taken = await Promise.all(Array.from({ length: 40 }, () => buckets.take(name, frozen)))
      expect(taken.filter(({ isAllowed }) => isAllowed).length).toBe(5)
      const { isAllowed, remaining, tokenAfterSeconds } = await buckets.take(name, frozen)
      expect({ isAllowed, remaining }).toEqual({ isAllowed: false, remaining: 0 })
      expect(tokenAfterSeconds).toBeGreaterThan(990)
    })

    it('are each on their own: a thousand keys get exactly what is theirs', async () => {
      const names = Array.from({ length: 1_000 }, newName)
      const counts = new Map<string, number>()
      const ask = async (name: string) => {
        const { isAllowed } = await buckets.take(name, frozen)
        counts.set(name, (counts.get(name) ?? 0) + Number(isAllowed))
      }
      // As many at once as a function has in flight, including each key twice.
      for (let round = 0; round < 4; round++) {
        for (let first = 0; first < names.length; first += 250) {
          const some = names.slice(first, first + 250)
          await Promise.all([...some, ...some].map(ask))
        }
      }
      expect(new Set(counts.values())).toEqual(new Set([5]))
      expect(counts.size).toBe(1_000)
    })

    it('fill at their rate, up to what they hold', async () => {
      const name = newName()
      const size = { ratePerSecond: 4, burst: 3 }
      const startedAt = performance.now()
      const takeAll = async () => {
        const taken = await Promise.all(Array.from({ length: 10 }, () => buckets.take(name, size)))
        return taken.filter(({ isAllowed }) => isAllowed).length
      }
      const first = await takeAll()
      await vi.waitFor(async () => expect((await buckets.take(name, size)).isAllowed).toBe(true))
      await sleep(1_000)
      const second = await takeAll()
      expect(Math.min(first, second)).toBeGreaterThanOrEqual(3)
      // However long this took, it gave no more tokens than the rate allows.
      const seconds = (performance.now() - startedAt) / 1_000
      expect(first + 1 + second).toBeLessThanOrEqual(3 + 4 * seconds)
    })
  })
}

it('a bucket in memory fills by the clock that it is given', () => {
  let now = 0
  const buckets = createMemoryBuckets(() => now)
  const take = () => buckets.take('a', { ratePerSecond: 2, burst: 4 }) as { isAllowed: boolean; remaining: number }
  for (let count = 0; count < 4; count++) expect(take().isAllowed).toBe(true)
  expect(take().isAllowed).toBe(false)
  now = 499
  expect(take().isAllowed).toBe(false)
  now = 500
  expect(take()).toMatchObject({ isAllowed: true, remaining: 0 })
  now = 3_600_000
  expect(take()).toMatchObject({ isAllowed: true, remaining: 3 })
})

it.skipIf(redisUrl === undefined)('an empty bucket goes on filling when the clock of Redis is set back', async () => {
  const connection = connectRedis(redisUrl ?? '')
  const buckets = createRedisBuckets(connection)
  const name = newName()
  const size = { ratePerSecond: 20, burst: 1 }
  // As the bucket was left before the clock was set back: five minutes ahead.
  const at = Date.now() + 300_000
  await connection.call('hset', (client) => client.hset(`bucket:${name}`, { tokens: 0, at }))
  expect(await buckets.take(name, size)).toMatchObject({ isAllowed: false })
  await vi.waitFor(async () => expect(await buckets.take(name, size)).toMatchObject({ isAllowed: true }))
  await buckets.close()
})
