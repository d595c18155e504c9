import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { startLoop } from './index.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a loop', () => {
  it('begins no round before the one before it is over, and stops after the one under way', async () => {
    let end = () => {}
    const round = vi.fn(() => new Promise<number>((resolve) => (end = () => resolve(0))))
    const loop = startLoop(round)
    expect(round).toHaveBeenCalledTimes(1)
    const stopped = vi.fn()
    const stopping = loop.stop().then(stopped)
    expect([loop.isStopped(), stopped.mock.calls.length]).toEqual([true, 0])
    end()
    await stopping
    expect(round).toHaveBeenCalledTimes(1)
  })

  it('that waits stops at once', async () => {
    const round = vi.fn(async () => 3_600_000)
    const loop = startLoop(round)
    await loop.stop()
    const late = startLoop(round, { firstPauseMs: 3_600_000 })
    await late.stop()
    expect(round).toHaveBeenCalledTimes(1)
  })
})
