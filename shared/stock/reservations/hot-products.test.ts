import { expect, it } from 'vitest'
import { createDemand } from './hot-products.ts'

const MINUTE_MS = 60_000

/** Counts lines in the first minute: the given number for each product, mixed. */
function demandOf(counts: Record<string, number>) {
  const demand = createDemand()
  const left = new Map(Object.entries(counts))
  while (left.size > 0) {
    for (const [sku, count] of left) {
      demand.count(sku, MINUTE_MS)
      if (count > 1) left.set(sku, count - 1)
      else left.delete(sku)
    }
  }
  return demand.hot(2 * MINUTE_MS)
}

const cold = (products: number, each: number) =>
  Object.fromEntries(Array.from({ length: products }, (_, number) => [`COLD-${number}`, each]))

it('tells of what most lines of the last minute were of, hottest first', () => {
  expect(demandOf({ B: 100, A: 200, ...cold(10, 5) })).toEqual([
    { sku: 'A', count: 200 },
    { sku: 'B', count: 100 },
  ])
})

it('finds it among more products than it counts, to within a hundredth of all lines', () => {
  const [hot, ...others] = demandOf({ HOT: 3_000, ...cold(10_000, 2) })
  expect(others).toEqual([])
  expect(hot?.sku).toBe('HOT')
  expect(hot?.count).toBeLessThanOrEqual(3_000)
  expect(hot?.count).toBeGreaterThanOrEqual(3_000 - 23_000 / 100)
})

it('tells of five, and of none where demand is even or small', () => {
  expect(demandOf(Object.fromEntries([...'ABCDEFGH'].map((sku) => [sku, 100])))).toHaveLength(5)
  expect(demandOf(cold(10_000, 3))).toEqual([])
  expect(demandOf({ ONLY: 59 })).toEqual([])
})

it('tells of the last full minute alone', () => {
  const demand = createDemand()
  for (let line = 0; line < 100; line++) demand.count('A', MINUTE_MS + line)
  expect(demand.hot(MINUTE_MS + 200)).toEqual([])
  expect(demand.hot(2 * MINUTE_MS)).toEqual([{ sku: 'A', count: 100 }])
  expect(demand.hot(3 * MINUTE_MS)).toEqual([])
  for (let line = 0; line < 100; line++) demand.count('B', 5 * MINUTE_MS)
  expect(demand.hot(7 * MINUTE_MS)).toEqual([])
})
