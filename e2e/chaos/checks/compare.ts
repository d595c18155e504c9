import type { Movement } from '#stock/schema'
import { type Checker, CLOCK_MS, say } from './checker.ts'
import type { Level, Truth } from './history.ts'

/** Compares the state that the answers describe with the actual state. Each difference becomes a finding of the checker. */
export function compare(checker: Checker, truth: Truth): void {
  const { levels, undecided } = checker
  if (!truth.isConsistent) checker.find('nothing lost', 'the audit finds balances that are not those of the ledger')
  compareReservations(checker, truth)
  for (const [productId, level] of levels) {
    checker.requireNotOversold(productId, level)
    const actual = truth.levels.get(productId)
    // An undecided write may or may not be there. Then only the ledger can tell.
    if (undecided.size === 0 && (actual?.onHand !== level.onHand || actual.reserved !== level.reserved))
      checker.find(
        'nothing lost',
        `${productId} should have ${say(level)}, and has ${actual ? say(actual) : 'nothing'}`,
      )
    const movements = truth.movements.get(productId) ?? []
    compareLedger(checker, productId, movements)
    compareReads(checker, productId, movements)
    const last = truth.versions.get(productId) ?? 0
    const untold = checker.untold(productId, last)
    if (untold.length > 0)
      checker.find(
        'nothing lost',
        `${untold.length} of ${last} events of ${productId} were not delivered, such as ${untold[0]}`,
      )
  }
}

function compareReservations(checker: Checker, { reservations, at }: Truth): void {
  const { holds, undecided } = checker
  const actual = new Map(reservations.map((reservation) => [reservation.id, reservation]))
  for (const [id, hold] of holds) {
    const state = actual.get(id)?.state
    if (state === 'expired' && hold.expiresAt <= at + CLOCK_MS) checker.end(id, 'expired')
    if (state !== hold.state)
      checker.find('nothing lost', `${id} was acknowledged as ${hold.state}, and is ${state ?? 'not there'}`)
    else if (state === 'held' && hold.expiresAt + CLOCK_MS < at)
      checker.find('nothing lost', `${id} is held long after its deadline`)
  }
  for (const { id, reference } of reservations) {
    if (!holds.has(id) && !undecided.has(reference ?? ''))
      checker.find('nothing doubled', `${id} is there for ${reference}, and was never acknowledged`)
  }
}

/** Checks that a ledger's rows continue each other, never go below the reserved quantity, and each have their own acknowledged cause. */
function compareLedger(checker: Checker, productId: string, movements: readonly Movement[]): void {
  const { adjustments, undecided } = checker
  const causes = new Map<string, number>()
  const sum: Level = { onHand: 0, reserved: 0 }
  for (const { id, type, reservationId, reference, ...movement } of movements) {
    sum.onHand += movement.onHandDelta
    sum.reserved += movement.reservedDelta
    if (sum.onHand !== movement.onHandAfter || sum.reserved !== movement.reservedAfter)
      checker.find('nothing lost', `the ledger of ${productId} breaks at ${id}`)
    if (!(0 <= sum.reserved && sum.reserved <= sum.onHand))
      checker.find('never oversold', `${productId} had ${say(sum)} after ${id}`)
    const isKnown = reference === null || adjustments.has(reference) || undecided.has(reference)
    if (type === 'adjustment' && !isKnown)
      checker.find('nothing doubled', `the adjustment ${reference} of ${productId} was never acknowledged`)
    // A count has no reference, and two counts with the same result change nothing.
    const cause = type === 'count' ? id : `${reservationId ?? reference ?? 'its creation'} ${type}`
    causes.set(cause, 1 + (causes.get(cause) ?? 0))
  }
  for (const [cause, count] of causes)
    if (count > 1) checker.find('nothing doubled', `the ledger of ${productId} has ${cause} ${count} times`)
}

/** Checks that a read with the token of an adjustment saw the stock on hand after it, or after some later change. */
function compareReads(checker: Checker, productId: string, movements: readonly Movement[]): void {
  for (const { seen, after, ...read } of checker.sharedReads) {
    if (read.productId !== productId) continue
    const from = movements.findIndex(({ id }) => id === after.id)
    if (from < 0) checker.find('nothing lost', `the adjustment ${after.id} of ${productId} is not in the ledger`)
    else if (!movements.slice(from).some(({ onHandAfter }) => onHandAfter === seen.onHand))
      checker.find('tokens', `${productId} had ${after.onHandAfter} on hand; a read with its token saw ${seen.onHand}`)
  }
}
