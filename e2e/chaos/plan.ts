import { type Fault, faults, nameOf } from './faults.ts'

export interface Strike {
  fault: Fault
  /** Which of several processes the fault hits. */
  which: number
  /** The time after the beginning of its round. */
  afterMs: number
  lastsMs: number
}

/** Faults that happen at the same time. The next round begins when everything has recovered. */
export interface Round {
  number: number
  strikes: Strike[]
}

/** The last of every three rounds has two faults. */
const DOUBLE_EVERY = 3
const SECOND_AFTER_MAX_MS = 1_500
const WHICH_MAX = 1_000

/**
 * Makes the rounds of a seed from the faults of `table`. Every fault comes once before any comes again. A longer plan begins like a shorter
 * plan of the same seed.
 */
export function planOf(seed: number, rounds: number, table: readonly Fault[] = faults): Round[] {
  const random = randomOf(seed)
  let deck: Fault[] = []
  /** Draws the next fault that hits a part other than that of `taken`. */
  const draw = (taken?: Fault): Fault | undefined => {
    const find = () => deck.findLastIndex(({ part }) => part !== taken?.part)
    // Faults of the old deck are drawn before those of the new one.
    if (find() < 0) deck = [...shuffled(table, random), ...deck]
    return deck.splice(find(), find() < 0 ? 0 : 1)[0]
  }
  const strike = (fault: Fault, afterMs: number): Strike => {
    const [least, most] = fault.lastsMs
    const lastsMs = Math.round(least + random() * (most - least))
    return { fault, which: Math.floor(random() * WHICH_MAX), afterMs, lastsMs }
  }
  return Array.from({ length: rounds }, (_, index) => {
    const first = draw()
    const second = index % DOUBLE_EVERY === DOUBLE_EVERY - 1 ? draw(first) : undefined
    const strikes = first ? [strike(first, 0)] : []
    if (second) strikes.push(strike(second, Math.round(random() * SECOND_AFTER_MAX_MS)))
    return { number: index + 1, strikes }
  })
}

/** Describes a round in a line, such as `3. kill primary + 0.9 s later stall redis for 3.4 s`. */
export function describeRound({ number, strikes }: Round): string {
  const told = strikes.map(({ fault, afterMs, lastsMs }) => {
    const when = afterMs > 0 ? `${seconds(afterMs)} later ` : ''
    return `${when}${nameOf(fault)}${lastsMs > 0 ? ` for ${seconds(lastsMs)}` : ''}`
  })
  return `${number}. ${told.join(' + ')}`
}

export const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`

export type Random = () => number

/** Returns a generator of numbers from 0 to 1 that are the same for the same seed: mulberry32. */
export function randomOf(seed: number): Random {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  const keyed = items.map((item) => ({ item, key: random() }))
  return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item)
}
