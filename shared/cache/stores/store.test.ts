import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { connectRedis } from '#redis'
import { inRedis, redisUrl } from '#testing/redis'
import { createMemoryStore } from './memory-store.ts'
import { createRedisStore } from './redis-store.ts'
import type { CacheStore, Entry } from './store.ts'

let counter = 0

const entry = (json: string, asOf: string): Entry => ({ value: JSON.parse(json), asOf, freshUntil: Date.now() + 300 })

for (const { where, open, isThere } of [
  { where: 'in memory', open: () => createMemoryStore(), isThere: true },
  { where: inRedis, open: () => createRedisStore(connectRedis(redisUrl ?? '')), isThere: redisUrl !== undefined },
]) {
  describe.skipIf(!isThere)(`a cache ${where}`, () => {
    const store: CacheStore = open()
    let entryKey: { key: string; group: string }

    beforeEach(() => {
      counter++
      entryKey = { key: `key-${process.pid}-${counter}`, group: `group-${process.pid}-${counter}` }
    })
    afterAll(() => store.close())

    it('gives nothing for a key that it does not have, and what was put there after that', async () => {
      expect((await store.get(entryKey, false)).entry).toBeUndefined()
      const put = entry('{"name":"Tea pot, 1.2 l — “é”"}', '1-0/A0')
      await store.put(entryKey, put, 5_000)
      const { entry: found } = await store.get(entryKey, false)
      expect(found?.value).toEqual(put.value)
      expect(Math.abs((found?.freshUntil ?? 0) - put.freshUntil)).toBeLessThan(1)
      expect((await store.get({ ...entryKey, key: `${entryKey.key}-other` }, false)).entry).toBeUndefined()
    })

    it('forgets an entry at the end of its life', async () => {
      await store.put(entryKey, entry('1', '1-0/1'), 30)
      await sleep(60)
      expect((await store.get(entryKey, false)).entry).toBeUndefined()
    })

    it('gives nothing that is older than the last invalidation, and says how new it has to be', async () => {
      await store.put(entryKey, entry('"old"', '1-0/FF'), 5_000)
      await store.invalidate(new Map([[entryKey.group, '1-0/100']]))
      const { entry: found, watermark } = await store.get(entryKey, false)
      expect(found).toBeUndefined()
      expect(watermark).toMatch(/^0*1-0*\/0*100$/)
    })

    it('takes nothing that was loaded before the last invalidation, however late it comes', async () => {
      await store.invalidate(new Map([[entryKey.group, '1-0/100']]))
      await store.put(entryKey, entry('"old"', '1-0/FF'), 5_000)
      expect((await store.get(entryKey, false)).entry).toBeUndefined()
      await store.put(entryKey, entry('"new"', '1-0/100'), 5_000)
      await store.put(entryKey, entry('"older than that"', '1-0/F0'), 5_000)
      expect((await store.get(entryKey, false)).entry?.value).toBe('new')
    })

    it('compares positions as numbers, and a later timeline as later', async () => {
      await store.invalidate(new Map([[entryKey.group, '1-9/FFFFFFFF']]))
      await store.put(entryKey, entry('1', '1-A/0'), 5_000)
      expect((await store.get(entryKey, false)).entry?.value).toBe(1)
      await store.invalidate(new Map([[entryKey.group, '2-0/1']]))
      expect((await store.get(entryKey, false)).entry).toBeUndefined()
      await store.put(entryKey, entry('2', '1-FF/0'), 5_000)
      expect((await store.get(entryKey, false)).entry).toBeUndefined()
      await store.put(entryKey, entry('3', '2-0/1'), 5_000)
      expect((await store.get(entryKey, false)).entry?.value).toBe(3)
    })

    it('never lowers a watermark: invalidations may arrive in any order', async () => {
      await store.invalidate(new Map([[entryKey.group, '1-0/200']]))
      await store.invalidate(new Map([[entryKey.group, '1-0/100']]))
      await store.put(entryKey, entry('1', '1-0/150'), 5_000)
      expect((await store.get(entryKey, false)).entry).toBeUndefined()
    })

    it('invalidates all of a group, and nothing else', async () => {
      const beside = { key: `${entryKey.key}-beside`, group: `${entryKey.group}-beside` }
      const second = { ...entryKey, key: `${entryKey.key}-second` }
      for (const each of [entryKey, second, beside]) await store.put(each, entry('1', '1-0/1'), 5_000)
      await store.invalidate(new Map([[entryKey.group, '1-0/2']]))
      expect((await store.get(entryKey, false)).entry).toBeUndefined()
      expect((await store.get(second, false)).entry).toBeUndefined()
      expect((await store.get(beside, false)).entry?.value).toBe(1)
    })
  })
}

it('a cache in memory is bounded: what was not asked for is forgotten first', async () => {
  const store = createMemoryStore()
  const large = JSON.stringify('x'.repeat(1024 * 1024))
  for (let index = 0; index < 40; index++) {
    await store.put({ key: `large-${index}`, group: 'large' }, entry(large, '1-0/1'), 60_000)
    await store.get({ key: 'large-0', group: 'large' }, false)
  }
  const left = await Promise.all(
    Array.from(
      { length: 40 },
      async (_, index) => (await store.get({ key: `large-${index}`, group: 'large' }, false)).entry,
    ),
  )
  expect(left.filter((found) => found).length).toBeLessThan(32)
  expect([left[0], left[39], left[1]].map((found) => found !== undefined)).toEqual([true, true, false])
})

it.skipIf(redisUrl === undefined)(
  `a cache ${inRedis} lets one load, and the next once that has put or given up`,
  async () => {
    const store = createRedisStore(connectRedis(redisUrl ?? ''))
    const entryKey = { key: `leased-${process.pid}`, group: `leased-${process.pid}` }
    expect((await store.get(entryKey, true)).isLeased).toBe(true)
    expect((await store.get(entryKey, true)).isLeased).toBe(false)
    await store.release(entryKey)
    expect((await store.get(entryKey, true)).isLeased).toBe(true)
    await store.put(entryKey, entry('1', '1-0/1'), 5_000)
    expect(await store.get(entryKey, true)).toMatchObject({ entry: { value: 1 }, isLeased: false })
    await store.invalidate(new Map([[entryKey.group, '1-0/2']]))
    expect((await store.get(entryKey, true)).isLeased).toBe(true)
    await store.close()
  },
)
