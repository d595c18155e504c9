import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { type RequestContext, responseState, type Sql, systemContext } from '#database'
import '#testing'
import { inRedis, redisUrl } from '#testing/redis'
import { cached as read, throughCache } from './cached.ts'
import { closeCache } from './close.ts'
import { invalidate } from './invalidate.ts'
import type { CacheOptions, Loaded } from './shared-loads.ts'
import { openStore } from './stores/open-store.ts'

let counter = 0
let options: CacheOptions

const contextWith = (token?: string): RequestContext => ({
  ...systemContext('function:test'),
  response: responseState(token),
})

function cached<Value>(
  options: CacheOptions,
  context: RequestContext,
  load: (by: RequestContext) => Promise<Loaded<Value>>,
): Promise<Value> {
  const store = openStore()
  if (!store) throw new Error('there is no cache')
  return throughCache(store, options, context, load)
}

/**
 * A thing that changes. A load returns the thing and the log's position as they are when the load begins; each load takes until `finish` is called.
 */
function thing(initial: unknown) {
  let now = { result: initial, asOf: '1-0/1' }
  const waiting: Array<() => void> = []
  const asked: Array<string | undefined> = []
  let isInstant = true
  return {
    asked,
    change(result: unknown, asOf: string) {
      now = { result, asOf }
    },
    hold() {
      isInstant = false
    },
    finish() {
      isInstant = true
      for (const go of waiting.splice(0)) go()
    },
    load: async (context: RequestContext) => {
      asked.push(context.response.consistencyToken)
      const seen = now
      if (!isInstant) await new Promise<void>((resolve) => waiting.push(resolve))
      return seen
    },
  }
}

for (const { where, url } of [
  { where: 'in memory', url: 'memory:' },
  { where: inRedis, url: redisUrl },
]) {
  describe.skipIf(url === undefined)(`a read with a cache ${where}`, () => {
    beforeEach(async () => {
      overrideEnvironment({ CACHE_URL: url })
      await closeCache()
      counter++
      const key = `cached-${process.pid}-${counter}`
      options = { name: 'test', key, group: key, freshMs: 10_000, staleMs: 10_000, missingMs: 10_000 }
    })
    afterEach(async () => {
      await closeCache()
      overrideEnvironment({ CACHE_URL: undefined })
    })

    /** Resolves once the value that was put can be read. */
    const settled = (asked: unknown[]) =>
      vi.waitFor(async () => {
        const before = asked.length
        await cached(options, contextWith(), async () => {
          asked.push('probe')
          throw new Error('not there yet')
        }).catch(() => {})
        expect(asked.length).toBe(before)
      })

    it('loads what is not there, and then finds it', async () => {
      const { load, asked } = thing({ a: [1, null, 'é'] })
      expect(await cached(options, contextWith(), load)).toEqual({ a: [1, null, 'é'] })
      await settled(asked)
      expect(await cached(options, contextWith(), load)).toEqual({ a: [1, null, 'é'] })
      expect(asked.filter((token) => token !== 'probe').length).toBe(1)
    })

    it('of something that is not there is remembered too', async () => {
      const { load, asked } = thing(null)
      expect(await cached(options, contextWith(), load)).toBeNull()
      await settled(asked)
      expect(await cached(options, contextWith(), load)).toBeNull()
      expect(asked.filter((token) => token !== 'probe').length).toBe(1)
    })

    it('that fails, fails for those who waited, and is not remembered', async () => {
      const failing = vi.fn(async () => Promise.reject(new Error('no database')))
      const readers = Array.from({ length: 3 }, () => cached(options, contextWith(), failing))
      for (const settled of await Promise.allSettled(readers)) {
        expect(settled).toMatchObject({ status: 'rejected', reason: { message: 'no database' } })
      }
      expect(failing).toHaveBeenCalledTimes(1)
      expect(await cached(options, contextWith(), thing('there').load)).toBe('there')
    })

    it('of 500 at once on a cold key is one load', async () => {
      const { load, asked, hold, finish } = thing('value')
      hold()
      const readers = Array.from({ length: 500 }, () => cached(options, contextWith(), load))
      await vi.waitFor(() => expect(asked.length).toBeGreaterThan(0))
      finish()
      expect(new Set(await Promise.all(readers))).toEqual(new Set(['value']))
      expect(asked.length).toBe(1)
    })

    it('is loaded anew once it was invalidated, at least as new as that', async () => {
      const { load, asked, change } = thing('old')
      await cached(options, contextWith(), load)
      await settled(asked)
      change('new', '1-0/20')
      invalidate([options.group], '1-0/20')
      await vi.waitFor(async () => expect(await cached(options, contextWith(), load)).toBe('new'))
      expect(asked.at(-1)).toMatch(/^0*1-0*\/0*20$/)
    })

    it('that began before an invalidation leaves nothing behind that is older', async () => {
      const { load, asked, change, hold, finish } = thing('old')
      hold()
      const early = cached(options, contextWith(), load)
      await vi.waitFor(() => expect(asked.length).toBe(1))
      change('new', '1-0/20')
      invalidate([options.group], '1-0/20')
      // The invalidation is known in Redis before the old value comes, as it would be in any process.
      await sleep(30)
      finish()
      expect(await early).toBe('old')
      await sleep(30)
      expect(await cached(options, contextWith(), load)).toBe('new')
      expect(await cached(options, contextWith(), load)).toBe('new')
    })

    it('with a token is never given what may be older, invalidated or not', async () => {
      const { load, asked, change } = thing('old')
      await cached(options, contextWith(), load)
      await settled(asked)
      change('new', '1-0/30')
      expect(await cached(options, contextWith('1-0/2'), load)).toBe('new')
      expect(asked.at(-1)).toBe('1-0/2')
      await vi.waitFor(async () => expect(await cached(options, contextWith(), load)).toBe('new'))
      const loads = asked.length
      expect(await cached(options, contextWith('1-0/30'), load)).toBe('new')
      expect(asked.length).toBe(loads)
    })

    it('with a token does not join a load that may be older', async () => {
      const { load, asked, change, hold, finish } = thing('old')
      hold()
      const early = cached(options, contextWith(), load)
      await vi.waitFor(() => expect(asked.length).toBe(1))
      change('new', '1-0/40')
      const late = cached(options, contextWith('1-0/40'), load)
      const same = cached(options, contextWith('1-0/3F'), load)
      await vi.waitFor(() => expect(asked.length).toBe(2))
      finish()
      expect(await Promise.all([early, late, same])).toEqual(['old', 'new', 'new'])
      expect(asked.length).toBe(2)
    })

    it('of a token of another timeline is loaded', async () => {
      const { load, asked } = thing('value')
      await cached(options, contextWith(), load)
      await settled(asked)
      await cached(options, contextWith('2-0/1'), load)
      expect(asked.at(-1)).toBe('2-0/1')
    })

    it('with a token from before a fail-over gives the context one from after it', async () => {
      const { load, change } = thing('value')
      change('value', '3-0/9')
      const context = contextWith('2-0/1')
      expect(await cached(options, context, load)).toBe('value')
      expect(context.response.consistencyToken).toBe('3-0/9')
    })

    it('of what has gone stale is answered at once, while it is loaded anew', async () => {
      const stale = { ...options, freshMs: 20 }
      const { load, asked, change, hold, finish } = thing('old')
      await cached(stale, contextWith(), load)
      change('new', '1-0/50')
      await sleep(60)
      hold()
      expect(await cached(stale, contextWith(), load)).toBe('old')
      expect(await cached(stale, contextWith(), load)).toBe('old')
      await vi.waitFor(() => expect(asked.length).toBe(2))
      finish()
      await vi.waitFor(async () => expect(await cached({ ...stale, freshMs: 10_000 }, contextWith(), load)).toBe('new'))
    })
  })
}

describe('without a cache', () => {
  it('each read is a query, and an invalidation is nothing', async () => {
    const plain = { name: 'test', key: 'plain', group: 'plain', freshMs: 1_000 }
    const query = vi.fn(async (sql: Sql) => (await sql<[{ one: number }]>`select 1 as one`)[0].one)
    expect(await read(plain, contextWith(), query)).toBe(1)
    invalidate(['plain'], '1-0/8')
    expect(await read(plain, contextWith(), query)).toBe(1)
    expect(query).toHaveBeenCalledTimes(2)
  })
})
