import { expect, it } from 'vitest'
import { batched } from './batch.ts'

it('works on what comes at the same time together, and on what comes meanwhile after that, so many at once', async () => {
  const batches: number[][] = []
  const double = batched(3, async (items: number[]) => {
    batches.push(items)
    if (batches.length === 1) later = Promise.all([5, 6].map(double))
    return items.map((item) => 2 * item)
  })
  let later: Promise<number[]> | undefined
  expect(await Promise.all([1, 2, 3, 4].map(double))).toEqual([2, 4, 6, 8])
  expect(await later).toEqual([10, 12])
  expect(batches).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ])
})

it('lets none fail for another', async () => {
  const check = batched(10, async (items: string[]) => {
    if (items.includes('bad')) throw new Error('a bad one')
    return items
  })
  const settled = await Promise.allSettled(['one', 'bad', 'two'].map(check))
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(await check('three')).toBe('three')
})
