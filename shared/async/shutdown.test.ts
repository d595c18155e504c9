import { expect, it, vi } from 'vitest'
import { onShutdown, shutDown } from './index.ts'

it('a shutdown closes what was registered, each once, and tells of the first failure after all were tried', async () => {
  const [one, two] = [vi.fn(async () => {}), vi.fn(async () => {})]
  const failing = async () => {
    throw new Error('it does not close')
  }
  for (const close of [one, failing, two, one]) onShutdown(close)
  await expect(shutDown()).rejects.toThrow('it does not close')
  await shutDown()
  expect([one.mock.calls.length, two.mock.calls.length]).toEqual([1, 1])
})
