import { expect, it } from 'vitest'
import { createLagClock } from './lag.ts'

function clock() {
  let at = 0
  const lag = createLagClock(() => at)
  const pass = (ms: number) => {
    at += ms
  }
  return { measure: lag.measure, pass }
}

it('is nothing while the replica has all there is, however long the primary has been idle', () => {
  const { measure, pass } = clock()
  expect(measure(100, 100)).toBe(0)
  pass(3_600_000)
  expect(measure(100, 100)).toBe(0)
  expect(measure(100, 140)).toBe(0)
  pass(1_000)
  expect(measure(140, 140)).toBe(0)
})

it('is the time since the primary was seen past what the replica has', () => {
  const { measure, pass } = clock()
  for (let offset = 0; offset < 10; offset++) {
    measure(0, offset)
    pass(1_000)
  }
  // The primary was seen at 1 nine seconds ago, at 6 four seconds ago.
  expect(measure(0, 9)).toBe(9_000)
  expect(measure(5, 9)).toBe(4_000)
  expect(measure(9, 9)).toBe(0)
})

it('is told with bounded memory, as the whole time, however long the replica stands still', () => {
  const { measure, pass } = clock()
  for (let offset = 1; offset <= 5_000; offset++) {
    measure(0, offset)
    pass(1_000)
  }
  expect(measure(0, 5_001)).toBe(5_000_000)
})

it('begins anew with a primary that has less log than the one before it', () => {
  const { measure, pass } = clock()
  measure(80, 100)
  pass(5_000)
  expect(measure(90, 90)).toBe(0)
})
