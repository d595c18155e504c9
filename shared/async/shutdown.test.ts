import { expect, it, vi } from 'vitest'
import { onShutdown, shutDown } from './index.ts'

it('a shutdown closes what was registered, each once, the last first, and tells of the first failure after all were tried', async () => {
  const closed: string[] = []
  const [one, two] = ['one', 'two'].map((name) => async () => closed.push(name))
  const failing = vi.fn(async () => {
    throw new Error('it does not close')
  })
  for (const close of [one, failing, two, one]) onShutdown(close as () => unknown)
  await expect(shutDown()).rejects.toThrow('it does not close')
  expect([closed, failing.mock.calls.length]).toEqual([['two', 'one'], 1])
  await shutDown()
  expect([closed, failing.mock.calls.length]).toEqual([['two', 'one'], 1])
})
