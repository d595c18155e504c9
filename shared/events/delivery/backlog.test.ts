import { beforeEach, describe, expect, it } from 'vitest'
import type { LoggedEvent } from '../postgres/log.ts'
import { type Backlog, createBacklog, type Entry, type Settlement } from './backlog.ts'
import type { Progress } from './progress.ts'

let backoff = 0

const START: Progress = { position: 0, attempts: 0, ahead: null }
const open = (start: Progress = START) => createBacklog<Entry>(start, () => backoff)
const done: Settlement = { step: 'done' }
const retry: Settlement = { step: 'retry', isCounted: true, error: 'not now' }

const entryAt = (position: number, key: string): Entry => ({ position, key, content: {} as LoggedEvent })
/** One entry for each letter, which is the entry's key, at positions from 1 on. */
const entriesOf = (keys: string) => [...keys].map((key, index) => entryAt(index + 1, key))
const positions = (entries: readonly Entry[]) => entries.map(({ position }) => position)
const due = () => performance.now() + 1

function settleNext(backlog: Backlog<Entry>, settlementOf: (entry: Entry) => Settlement = () => done): number[] {
  const entries = backlog.next(100, due())
  backlog.settle(
    entries,
    entries.map((entry) => settlementOf(entry)),
  )
  return positions(entries)
}

beforeEach(() => {
  backoff = 0
})

describe('a backlog', () => {
  it('holds back what is behind an entry to be retried, of its key alone', () => {
    const backlog = open()
    backlog.add(entriesOf('abab'))
    backoff = 60_000
    settleNext(backlog, ({ position }) => (position === 1 ? retry : done))
    backlog.add([entryAt(5, 'a'), entryAt(6, 'b')])
    expect(settleNext(backlog)).toEqual([6])
    expect(settleNext(backlog)).toEqual([])
    expect(backlog.progress()).toEqual({
      position: 0,
      attempts: 1,
      ahead: { passed: 6, waiting: [{ key: 'a', position: 1, attempts: 1 }] },
    })
  })

  it('gives what is to be retried alone, and what waited behind it in order once it is done', () => {
    const backlog = open()
    backlog.add(entriesOf('abaa'))
    settleNext(backlog, ({ position }) => (position === 1 ? retry : done))
    expect(settleNext(backlog)).toEqual([1])
    expect(settleNext(backlog)).toEqual([3, 4])
    expect(backlog.progress()).toEqual({ position: 4, attempts: 0, ahead: null })
  })

  it('gives entries that failed together one by one', () => {
    const backlog = open()
    backlog.add(entriesOf('abc'))
    backlog.failTogether(backlog.next(100, due()), true, 'a defect')
    backlog.add([entryAt(4, 'd'), entryAt(5, 'e')])
    expect([1, 2, 3, 4].map(() => settleNext(backlog))).toEqual([[1], [2], [3], [4, 5]])
  })

  it('is full where too many keys wait, and goes on when one is done', () => {
    const backlog = open()
    backlog.add(Array.from({ length: 50 }, (_, index) => entryAt(index + 1, `key-${index}`)))
    settleNext(backlog, () => retry)
    expect(backlog.isFull()).toBe(true)
    expect(settleNext(backlog)).toEqual([1])
    expect(backlog.isFull()).toBe(false)
  })

  it('goes on from an older version’s progress, which is a position and attempts', () => {
    const backlog = open({ position: 1, attempts: 9, ahead: null })
    backlog.add(entriesOf('aab'))
    const [entry] = backlog.next(100, due())
    expect(entry?.position).toBe(2)
    expect(entry && backlog.begin(entry, 'interrupted')).toBe(10)
  })
})

/** A generator of random numbers that a seed makes repeatable: https://en.wikipedia.org/wiki/Linear_congruential_generator */
function randomOf(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

describe('whatever fails, and wherever a process ends', () => {
  it.each(Array.from({ length: 300 }, (_, seed) => seed))('nothing is left out or overtaken (seed %i)', (seed) => {
    const random = randomOf(seed)
    const log: Entry[] = []
    for (let position = 1; log.length < 60; position += 1 + random(3)) {
      const content = random(10) === 0 ? undefined : ({} as LoggedEvent)
      log.push({ position, key: String(random(6)), content })
    }
    let saved = START
    let backlog = open(saved)
    const acted: Entry[] = []
    const act = (failures: boolean) => {
      const entries = backlog.next(1 + random(8), due())
      if (failures && entries.length > 1 && random(6) === 0)
        return backlog.failTogether(entries, random(2) === 0, 'a defect')
      const [only] = entries
      if (only && entries.length === 1) backlog.begin(only, 'interrupted')
      if (only && random(3) === 0) saved = backlog.progress()
      const waiting = new Set<string>()
      const settlements = entries.map((entry): Settlement => {
        if (failures && random(4) === 0) waiting.add(entry.key)
        if (waiting.has(entry.key)) return { step: 'retry', isCounted: random(2) === 0, error: '' }
        acted.push(entry)
        return done
      })
      if (failures && random(12) === 0) return backlog.putBack()
      backlog.settle(entries, settlements)
    }
    const read = () => {
      if (!backlog.isFull())
        backlog.add(log.filter(({ position }) => position > backlog.read()).slice(0, 1 + random(12)))
    }
    for (let step = 0; step < 150; step++) {
      read()
      act(true)
      if (random(3) === 0) saved = backlog.progress()
      if (random(10) === 0) backlog = open(JSON.parse(JSON.stringify(saved)))
    }
    for (let step = 0; step < 300; step++) {
      read()
      act(false)
    }
    for (const key of new Set(log.map((entry) => entry.key))) {
      const expected = log.filter((entry) => entry.key === key && entry.content)
      expect([...new Set(acted.filter((entry) => entry.key === key))]).toEqual(expected)
    }
    expect(backlog.progress()).toEqual({ position: log.at(-1)?.position, attempts: 0, ahead: null })
  })
})
