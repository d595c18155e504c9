import { expect, test } from 'vitest'
import { inBatches } from './batch-per-turn.ts'

test('what is asked in one turn is asked at once, in order, and no more than the maximum at a time', async () => {
  const batches: number[][] = []
  const double = inBatches(3, async (numbers: number[]) => {
    batches.push(numbers)
    return numbers.map((number) => 2 * number)
  })
  expect(await Promise.all([1, 2, 3, 4, 5].map(double))).toEqual([2, 4, 6, 8, 10])
  expect(await double(6)).toBe(12)
  expect(batches).toEqual([[1, 2, 3], [4, 5], [6]])
})

test('a batch that fails fails for all who asked, and the next one is asked anew', async () => {
  let failures = 1
  const echo = inBatches(10, async (words: string[]) => {
    if (failures-- > 0) throw new Error('no answer')
    return words
  })
  const outcomes = await Promise.allSettled([echo('a'), echo('b')])
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(await echo('c')).toBe('c')
})
