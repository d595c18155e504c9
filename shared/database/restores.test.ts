import { expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, isPaused } from '#database'
import '#testing'
import { openProxy } from '#testing/proxy'

it('a connection that goes silent holds up whoever asks for 6 s, and not for ever', async () => {
  const { DATABASE_URL: url = '' } = environment()
  const proxy = await openProxy(url)
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: proxy.url })
  try {
    expect(await isPaused()).toBe(false)
    proxy.freeze()
    // An answer is believed for a second.
    const later = performance.now() + 1_001
    const clock = vi.spyOn(performance, 'now').mockReturnValue(later)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const silent = isPaused()
    await vi.advanceTimersByTimeAsync(6_000)
    vi.useRealTimers()
    clock.mockRestore()
    expect(await Promise.race([silent, Promise.resolve('no answer')])).toBe(true)
    proxy.mend()
    await vi.waitFor(async () => expect(await isPaused()).toBe(false), { timeout: 10_000, interval: 100 })
  } finally {
    vi.useRealTimers()
    proxy.cut()
    await closeDatabase()
    overrideEnvironment({ DATABASE_URL: url })
    await proxy.close()
  }
})
