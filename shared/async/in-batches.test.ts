import { expect, test, vi } from 'vitest'
import { inBatches } from './in-batches.ts'

test('what is asked in one turn is asked at once, in order, and no more than the maximum at a time', async () => {
  const batches: number[][] = []
  const double = inBatches({ max: 3 }, async (numbers: number[]) => {
    batches.push(numbers)
    return numbers.map((number) => 2 * number)
  })
  expect(await Promise.all([1, 2, 3, 4, 5].map(double))).toEqual([2, 4, 6, 8, 10])
  expect(await double(6)).toBe(12)
  expect(batches).toEqual([[1, 2, 3], [4, 5], [6]])
})

test('a batch that fails fails for all who asked, and the next one is asked anew', async () => {
  let failures = 1
  const echo = inBatches({ max: 10 }, async (words: string[]) => {
    if (failures-- > 0) throw new Error('no answer')
    return words
  })
  const outcomes = await Promise.allSettled([echo('a'), echo('b')])
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(await echo('c')).toBe('c')
})

test('what is asked within the wait is asked at once, and a full batch waits no longer', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] })
  try {
    const batches: number[][] = []
    const echo = inBatches({ max: 3, waitMs: 20 }, async (numbers: number[]) => {
      batches.push(numbers)
      return numbers
    })
    const first = [echo(1), echo(2)]
    await vi.advanceTimersByTimeAsync(19)
    expect(batches).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    expect(await Promise.all(first)).toEqual([1, 2])
    expect(await Promise.all([3, 4, 5].map(echo))).toEqual([3, 4, 5])
    expect(batches).toEqual([
      [1, 2],
      [3, 4, 5],
    ])
  } finally {
    vi.useRealTimers()
  }
})
