import { afterEach, describe, expect, it, vi } from 'vitest'
import { fullJitter, jittered, pause, withTimeout } from './index.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

describe('waits', () => {
  it.each([
    [0, 0, 50],
    [0.999, 0.999, 149.9],
  ])('are spread at random: %d', (random, full, half) => {
    vi.spyOn(Math, 'random').mockReturnValue(random)
    expect(fullJitter(3, { baseMs: 100, maxMs: 10_000 })).toBeCloseTo(full * 800)
    expect(fullJitter(300, { baseMs: 100, maxMs: 10_000 })).toBeCloseTo(full * 10_000)
    expect(jittered(100)).toBeCloseTo(half)
  })

  it('end early where they are aborted, and throw nothing', async () => {
    await pause(3_600_000, AbortSignal.abort())
  })
})

describe('withTimeout', () => {
  it('gives what the work gives, and throws what it throws', async () => {
    expect(await withTimeout(3_600_000, Promise.resolve(7))).toBe(7)
    await expect(withTimeout(3_600_000, Promise.reject(new Error('no')))).rejects.toThrow('no')
  })

  it('throws once the time is up', async () => {
    const never = new Promise<never>(() => {})
    await expect(withTimeout(1, never)).rejects.toThrow('no answer within 1 ms')
    await expect(withTimeout(1, never, () => new Error('too late'))).rejects.toThrow('too late')
  })
})
