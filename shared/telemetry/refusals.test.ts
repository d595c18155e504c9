import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { logger } from './log.ts'
import { logRefusal } from './refusals.ts'

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
