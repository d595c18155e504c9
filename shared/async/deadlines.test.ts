import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createDeadlines } from './deadlines.ts'

beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => vi.useRealTimers())

describe('deadlines', () => {
  it('pass in the order in which they were set, each after the whole time, without those that are cancelled', () => {
    const deadlines = createDeadlines(1_000)
    const passed: string[] = []
    const set = (name: string) =>
      deadlines.set(() => passed.push(`${name} at ${Math.round(performance.now() - start)}`))
    const start = performance.now()
    set('a')
    vi.advanceTimersByTime(400)
    const cancel = set('b')
    set('c')
    vi.advanceTimersByTime(500)
    cancel()
    set('d')
    vi.advanceTimersByTime(5_000)
    expect(passed).toEqual(['a at 1000', 'c at 1400', 'd at 1900'])
    set('e')
    vi.advanceTimersByTime(1_000)
    expect(passed.at(-1)).toBe('e at 6900')
  })

  it('leave no timer behind once all have passed', () => {
    const deadlines = createDeadlines(1_000)
    deadlines.set(() => {})()
    vi.advanceTimersByTime(1_000)
    expect(vi.getTimerCount()).toBe(0)
  })
})
