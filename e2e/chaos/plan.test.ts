import { expect, it } from 'vitest'
import { faults, nameOf } from './faults.ts'
import { describeRound, planOf } from './plan.ts'

const SEEDS = Array.from({ length: 50 }, (_, index) => index * 7_919)

it('the same seed gives the same plan, and a longer one begins with it', () => {
  for (const seed of SEEDS) expect(planOf(seed, 60).slice(0, 25)).toEqual(planOf(seed, 25))
  expect(new Set(SEEDS.map((seed) => planOf(seed, 10).map(describeRound).join())).size).toBe(SEEDS.length)
})

it('each third round has two faults, of different parts', () => {
  for (const seed of SEEDS) {
    for (const { number, strikes } of planOf(seed, 60)) {
      expect(strikes).toHaveLength(number % 3 === 0 ? 2 : 1)
      expect(new Set(strikes.map(({ fault }) => fault.part)).size).toBe(strikes.length)
    }
  }
})

it('every fault comes once before one comes a third time', () => {
  for (const seed of SEEDS) {
    // Two rounds more than they fill: of the last ones none may be of another part than the first of its round.
    const rounds = Math.ceil((faults.length * 3) / 4) + 2
    const names = planOf(seed, rounds).flatMap(({ strikes }) => strikes.map(({ fault }) => nameOf(fault)))
    expect(new Set(names)).toEqual(new Set(faults.map(nameOf)))
    expect(Math.max(...faults.map((fault) => names.filter((name) => name === nameOf(fault)).length))).toBeLessThan(3)
  }
})

it('one fault alone can be planned', () => {
  const [fault] = faults
  for (const { strikes } of planOf(1, 6, fault ? [fault] : [])) expect(strikes).toHaveLength(1)
})
