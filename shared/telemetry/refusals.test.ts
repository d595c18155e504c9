import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { logger } from './log.ts'
import { logFault, logRefusal } from './refusals.ts'

beforeEach(() => vi.useFakeTimers())
afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

it('tells of the first refusal of a kind at once, and of the others by their number', () => {
  const written = vi.spyOn(logger(), 'warn').mockImplementation(() => {})
  for (let count = 0; count < 2_306; count++) logRefusal({ function: 'reserve-stock', code: 'overloaded' }, 'Too much.')
  logRefusal({ function: 'get-product', code: 'overloaded' }, 'Too much.')
  expect(written.mock.calls).toEqual([
    [{ function: 'reserve-stock', code: 'overloaded' }, 'Too much.'],
    [{ function: 'get-product', code: 'overloaded' }, 'Too much.'],
  ])
  vi.advanceTimersByTime(10_000)
  expect(written.mock.calls.slice(2)).toEqual([
    [{ function: 'reserve-stock', code: 'overloaded', repeated: 2_305 }, expect.any(String)],
  ])
  logRefusal({ function: 'reserve-stock', code: 'overloaded' }, 'Too much again.', 'the pool is full')
  expect(written).toHaveBeenLastCalledWith(
    { function: 'reserve-stock', code: 'overloaded', reason: 'the pool is full' },
    'Too much again.',
  )
})

it('logs each fault of a kind once with its stack, faults of many kinds without bound in number alone', () => {
  const written = vi.spyOn(logger(), 'error').mockImplementation(() => {})
  const about = { function: 'get-stock', code: 'internal' }
  const fault = new Error('no')
  for (const id of ['a', 'b', 'c']) logFault(about, 'It broke.', fault, { request_id: id })
  expect(written.mock.calls).toEqual([[{ ...about, request_id: 'a', err: fault }, 'It broke.']])
  for (let count = 0; count < 5_000; count++) logFault(about, 'It broke.', new Error(`no ${count}`), {})
  expect(written.mock.calls.length).toBeLessThan(1_100)
  vi.advanceTimersByTime(10_000)
  const repeated = written.mock.calls.map(([entry]) => (entry as { repeated?: number }).repeated ?? 0)
  const single = repeated.filter((count) => count === 0).length
  expect(single + repeated.reduce((sum, count) => sum + count, 0)).toBe(5_003)
})
