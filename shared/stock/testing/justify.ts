import { expect } from 'vitest'
import type { ProductStock } from '../schema.ts'
import type { Operation, Shop } from './history.ts'
import { allocate, free, heldFor, reserved, type State } from './rules.ts'

/** Whether the operation's answer depends on the state that it met, so that some state must explain the answer. */
export function hasLooked({ answer, isReplay }: Operation): boolean {
  return !isReplay && answer.code !== 'done' && answer.code !== 'request_in_progress'
}

/** The products that the operation locks or reads. */
export function productsOf({ request }: Operation, { operations }: Shop): string[] {
  switch (request.kind) {
    case 'reserve':
      return request.lines.map(({ productId }) => productId)
    case 'adjust':
      return request.lines.map(({ productId }) => productId)
    case 'look':
      return [request.productId]
    case 'sweep':
      return []
  }
  const { id } = request
  const made = operations.flatMap(({ answer }) => ('reservation' in answer ? answer.reservation : []))
  return made.find((reservation) => reservation.id === id)?.lines.map(({ productId }) => productId) ?? []
}

/** Whether this state explains the answer of an operation that changed nothing. */
export function justifies(state: State, operation: Operation, shop: Shop): boolean {
  const { request, answer } = operation
  switch (request.kind) {
    case 'reserve':
      if (answer.code !== 'insufficient_stock') return false
      return freedSets(state, operation, shop).some((freed) => {
        const expected = allocate(state, request.lines, new Set([...freed, ...heldFor(state, request.cart)]))
        return isEqual(expected.shortages, shortagesOf(operation))
      })
    case 'adjust':
      if (answer.code !== 'insufficient_stock') return false
      return freedSets(state, operation, shop).some((freed) => {
        const shortages = request.lines.flatMap((line) => {
          const { productId, location, quantity } = line
          const available = free(state, line, freed)
          return available + quantity < 0 ? [{ productId, location, requested: -quantity, available }] : []
        })
        return shortages.length > 0 && isEqual(shortages, shortagesOf(operation))
      })
    case 'look':
      return 'stock' in answer && freedSets(state, operation, shop).some((freed) => isSeen(state, answer.stock, freed))
    case 'extend': {
      const isHeld = state.holds.get(request.id)?.state === 'held'
      const passed = overdue(operation, shop).filter(({ id }) => id === request.id)
      if (answer.code === 'extended') return isHeld && !passed.some(({ isSure }) => isSure)
      return answer.code === 'not_held' && (!isHeld || passed.length > 0)
    }
    case 'confirm':
    case 'release':
      return codesFor(state, operation, request, shop).includes(answer.code)
    default:
      return false
  }
}

/** The codes that a client may get for settling a hold when that changes nothing. */
function codesFor(state: State, operation: Operation, request: { kind: string; id: string }, shop: Shop): string[] {
  const hold = state.holds.get(request.id)
  const isOverdue = hold?.state === 'held' && overdue(operation, shop).some(({ id }) => id === request.id)
  if (isOverdue || hold?.state === 'expired') return [request.kind === 'confirm' ? 'reservation_expired' : 'not_held']
  if (hold?.state === 'held') return []
  const repeated = { confirm: 'confirmed', release: 'released' }[request.kind]
  return [hold?.state === repeated ? repeated : 'not_held'].flatMap((code) => code ?? [])
}

/** Holds whose deadline passed before the operation ended. `isSure`: it passed before the operation began. */
function overdue({ start, end }: Operation, { operations }: Shop): Array<{ id: string; isSure: boolean }> {
  return operations.flatMap((other) =>
    other.request.kind === 'expire' && other.start < end ? [{ id: other.request.id, isSure: other.end < start }] : [],
  )
}

/** Sets of overdue holds that may count as free: all that were surely overdue, with any of those that became overdue during the operation. */
function freedSets(state: State, operation: Operation, shop: Shop): Array<Set<string>> {
  const held = overdue(operation, shop).filter(({ id }) => state.holds.get(id)?.state === 'held')
  const sure = held.filter(({ isSure }) => isSure).map(({ id }) => id)
  const open = held.filter(({ isSure }) => !isSure).map(({ id }) => id)
  const sets = [new Set(sure)]
  for (const id of open) sets.push(...sets.map((set) => new Set(set).add(id)))
  return sets
}

function isSeen(state: State, { productId, locations }: ProductStock, freed: Set<string>): boolean {
  return locations.every(({ location, onHand, reserved: held, available }) => {
    const place = { productId, location, quantity: 0 }
    return (
      held === reserved(state, place, freed) && available === free(state, place, freed) && onHand === held + available
    )
  })
}

function shortagesOf({ answer }: Operation): unknown {
  if (!('shortages' in answer) || !Array.isArray(answer.shortages)) return undefined
  return answer.shortages.map(({ sku: _, ...shortage }: Record<string, unknown>) => shortage)
}

const isEqual = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

/** Of the requests with one key, one is executed or refused. The others get its answer, or are told that it is in progress. */
export function expectOneAnswerPerKey({ operations }: Shop): void {
  const keyOf = ({ request }: Operation) => (request.kind === 'reserve' ? request.key : undefined)
  // Other keys are used by one request only, so no request is a replay under them.
  expect(operations.filter((operation) => operation.isReplay && keyOf(operation) === undefined)).toEqual([])
  for (const key of new Set(operations.flatMap((operation) => keyOf(operation) ?? []))) {
    const twins = operations.filter((operation) => keyOf(operation) === key)
    const running = twins.filter(({ answer }) => answer.code === 'request_in_progress')
    const answered = twins.filter((operation) => !running.includes(operation))
    expect(answered.filter(({ isReplay }) => !isReplay).length, key).toBe(1)
    expect(new Set(answered.map(({ answer }) => JSON.stringify(answer))).size, key).toBe(1)
    for (const { start, end } of running) {
      expect(
        answered.some((other) => other.start < end && start < other.end),
        `${key} runs`,
      ).toBe(true)
      expect(
        answered.some((other) => other.end < start),
        `${key} is answered`,
      ).toBe(false)
    }
  }
}
