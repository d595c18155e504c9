import { expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { askPrimary, closeDatabase, isPaused } from '#database'
import '#testing'
import { openProxy } from '#testing/proxy'

it.each([
  ['a question is given up', () => askPrimary((sql) => sql`select 1`), 'the server did not answer within 6000 ms'],
  ['a restore is taken to wait', isPaused, true],
])('after 6 s of silence %s, and the next has another connection', async (_, ask, expected) => {
  const { DATABASE_URL: url = '' } = environment()
  const proxy = await openProxy(url)
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: proxy.url })
  try {
    await askPrimary((sql) => sql`select 1`)
    proxy.freeze()
    // The answer whether a restore waits is reused for a second.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 1_001)
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const silent = ask().catch(({ message }: Error) => message)
    await vi.advanceTimersByTimeAsync(6_000)
    vi.useRealTimers()
    clock.mockRestore()
    expect(await Promise.race([silent, 'no answer'])).toBe(expected)
    proxy.mend()
    await vi.waitFor(() => askPrimary(async (sql) => sql`select 1`), { timeout: 10_000, interval: 100 })
    await vi.waitFor(async () => expect(await isPaused()).toBe(false), { timeout: 10_000, interval: 100 })
  } finally {
    vi.useRealTimers()
    proxy.cut()
    await closeDatabase()
    overrideEnvironment({ DATABASE_URL: url })
    await proxy.close()
  }
})
