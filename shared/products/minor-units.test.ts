import { expect, it } from 'vitest'
import { minorUnitsOf } from './minor-units.ts'

it('lets zeros behind the last decimal place pass, and refuses a digit behind them', () => {
  expect(minorUnitsOf('19.9000', 'EUR', 'price')).toBe(1990)
  expect(() => minorUnitsOf('19.900001', 'EUR', 'price')).toThrow('decimal places')
})

it('reads a price of a quarter of a million zeros in one pass', () => {
  // With a quadratic algorithm, this would take a minute: longer than the test's time-out.
  expect(() => minorUnitsOf(`0.${'0'.repeat(250_000)}1`, 'EUR', 'price')).toThrow('decimal places')
})
