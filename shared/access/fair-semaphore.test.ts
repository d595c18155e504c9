import { setImmediate as turnOfLoop } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createFairSemaphore } from './fair-semaphore.ts'

/** Calls that end when the test ends them. */
function works() {
  const started: string[] = []
  const ends: Array<() => void> = []
  const work = (name: string) => () => {
    started.push(name)
    return new Promise<void>((resolve) => ends.push(resolve))
  }
  return { started, work, endFirst: () => ends.shift()?.() }
}

describe('a fair semaphore', () => {
  it('runs so many calls at a time, of each origin in turn', async () => {
    const inTurn = createFairSemaphore({ concurrencyMax: 2, waitingMax: 100, waitingPerOriginMax: 100 })
    const { started, work, endFirst } = works()
    const all = ['a1', 'a2', 'a3', 'a4', 'a5', 'b1', 'c1', 'b2'].map((name) => inTurn(name.slice(0, 1), work(name)))
    for (let count = 0; count < all.length; count++) {
      await turnOfLoop()
      expect(started).toHaveLength(Math.min(all.length, count + 2))
      endFirst()
    }
    await Promise.all(all)
    expect(started).toEqual(['a1', 'a2', 'a3', 'b1', 'c1', 'a4', 'b2', 'a5'])
  })

  it('refuses a call when too many wait, from one origin or in all, and none once they are through', async () => {
    const inTurn = createFairSemaphore({ concurrencyMax: 1, waitingMax: 3, waitingPerOriginMax: 2 })
    const { work, endFirst } = works()
    const all = ['a', 'a', 'a'].map((origin) => inTurn(origin, work(origin)))
    await expect(inTurn('a', work('a'))).rejects.toMatchObject({ code: 'rate_limited', retryAfterSeconds: 1 })
    all.push(inTurn('b', work('b')))
    await expect(inTurn('c', work('c'))).rejects.toMatchObject({ code: 'rate_limited' })
    for (const _ of all) {
      endFirst()
      await turnOfLoop()
    }
    await Promise.all(all)
    await inTurn('a', async () => {})
  })

  it('goes on after a call that fails', async () => {
    const inTurn = createFairSemaphore({ concurrencyMax: 1, waitingMax: 1, waitingPerOriginMax: 1 })
    const failing = inTurn('a', () => Promise.reject(new Error('no')))
    const next = inTurn('a', async () => 'done')
    await expect(failing).rejects.toThrow('no')
    expect(await next).toBe('done')
  })
})
