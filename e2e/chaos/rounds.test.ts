import { afterEach, beforeEach, expect, it } from 'vitest'
import { Checker } from './checks/checker.ts'
import type { Attempt } from './checks/history.ts'
import type { Fault } from './faults.ts'
import { createRounds, FREQUENT } from './rounds.ts'

const BOUND_MS = 100
const CALM_MS = 50
const LATE_MS = 500

let checker: Checker
let undelivered: Map<string, number>
let rounds: ReturnType<typeof createRounds>
let serving: NodeJS.Timeout
/** Called when the target is struck. */
let onStrike: () => void

const attempt = (told: string, operation = FREQUENT[0] ?? ''): Attempt => {
  const now = Date.now()
  return { operation, startedAt: now, endedAt: now, told, isFirst: true }
}

beforeEach(() => {
  checker = new Checker()
  undelivered = new Map()
  onStrike = () => {}
  const strike = async () => {
    onStrike()
    return { hit: 'something', mend: async () => {} }
  }
  const load = { undelivered, openImportSince: () => undefined }
  rounds = createRounds({ strike }, { oldestOpen: () => undefined }, load, checker, CALM_MS)
  // All requests succeed, except for those that a test adds.
  serving = setInterval(() => {
    for (const operation of FREQUENT) rounds.onAttempt(attempt('200', operation))
  }, 5)
})

afterEach(() => clearInterval(serving))

function play(more: Partial<Fault>) {
  const bounds = { lastsMs: [0, 0], recoversWithinMs: BOUND_MS, mayRefuse: true } as const
  const fault: Fault = { part: 'primary', action: 'kill', ...bounds, ...more }
  return rounds.play({ number: 1, strikes: [{ fault, which: 0, afterMs: 0, lastsMs: 0 }] })
}

it('a refusal is let pass while a fault allows it, and not after that', async () => {
  onStrike = () => rounds.onAttempt(attempt('503 unavailable'))
  expect(await play({})).toMatchObject({ refused: 1 })
  expect(checker.findings).toEqual([])
  await new Promise((resolve) => setTimeout(resolve, 5))
  rounds.onAttempt(attempt('503 unavailable'))
  expect(checker.findings.map(({ promise }) => promise)).toEqual(['not refused'])
})

it('without an answer a request may be only where the router is struck', async () => {
  onStrike = () => rounds.onAttempt(attempt('none'))
  await play({ part: 'router' })
  expect(checker.findings).toEqual([])
  await play({ part: 'primary' })
  expect(checker.findings.map(({ promise }) => promise)).toEqual(['not refused'])
})

it('no refusal is let pass where the fault allows none', async () => {
  onStrike = () => rounds.onAttempt(attempt('503 unavailable'))
  await play({ part: 'redis', mayRefuse: false })
  expect(checker.findings.map(({ promise }) => promise)).toEqual(['not refused'])
})

it('an event that is delivered after the bound only is found, and waited for', async () => {
  onStrike = () => {
    undelivered.set('a reservation', Date.now() - 1)
    setTimeout(() => undelivered.clear(), LATE_MS)
  }
  expect((await play({})).recoveredInMs).toBeGreaterThan(BOUND_MS)
  expect(checker.findings).toMatchObject([{ promise: 'recovery', what: expect.stringContaining('not been delivered') }])
})

it('what the last round has left to do is waited for, so that the next one is not measured by it', async () => {
  undelivered.set('a reservation', Date.now() - 60_000)
  let isStruck = false
  onStrike = () => {
    isStruck = true
  }
  const playing = play({})
  await new Promise((resolve) => setTimeout(resolve, LATE_MS))
  expect(isStruck).toBe(false)
  undelivered.clear()
  expect((await playing).recoveredInMs).toBeLessThan(BOUND_MS)
  expect([isStruck, checker.findings]).toEqual([true, []])
})
