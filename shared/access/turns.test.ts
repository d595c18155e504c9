import { setImmediate as turnOfLoop } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createTurns } from './turns.ts'

/** Works that end when they are told to. */
function works() {
  const started: string[] = []
  const ends: Array<() => void> = []
  const work = (name: string) => () => {
    started.push(name)
    return new Promise<void>((resolve) => ends.push(resolve))
  }
  return { started, work, endFirst: () => ends.shift()?.() }
}

describe('turns', () => {
  it('let so many work at a time, and the origins one after the other', async () => {
    const inTurn = createTurns({ atOnceMax: 2, waitingMax: 100, waitingOfOneMax: 100 })
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

  it('refuse who comes when too many wait, of one origin or in all, and nobody after they are through', async () => {
    const inTurn = createTurns({ atOnceMax: 1, waitingMax: 3, waitingOfOneMax: 2 })
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

  it('go on after a work that fails', async () => {
    const inTurn = createTurns({ atOnceMax: 1, waitingMax: 1, waitingOfOneMax: 1 })
    const failing = inTurn('a', () => Promise.reject(new Error('no')))
    const next = inTurn('a', async () => 'done')
    await expect(failing).rejects.toThrow('no')
    expect(await next).toBe('done')
  })
})
