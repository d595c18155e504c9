import { expect } from 'vitest'
import { sql } from '#testing'
import type { Movement } from '../schema.ts'
import type { Operation, Shop } from './history.ts'
import { expectOneAnswerPerKey, hasLooked, justifies, productsOf } from './justify.ts'
import { allocate, end, firstState, free, heldFor, hold, receive, type State } from './rules.ts'

interface Row extends Pick<Movement, 'id' | 'productId' | 'location' | 'type' | 'onHandDelta' | 'reservedDelta'> {
  reservationId: string | null
  transaction: string
}

/** The effect of one operation, or the end of an overdue hold, which needs no operation. */
interface Effect {
  rows: Row[]
  owner: Operation | undefined
  /** The effect can't have come earlier. */
  since: number
  state: State
}

/**
 * Fails unless the ledger's order explains every answer. When the rules are applied in that order, each effect must match its operation's answer,
 * and come neither before the operation began nor after it ended. An operation without effect (a refusal, a repeat, a look) must be explained by
 * one of the states between its start and its end, and not by an older state than an earlier operation has seen. Operations that share no product
 * have no order.
 */
export async function expectLinearizable(shop: Shop): Promise<void> {
  const effects = replay(shop, await readLedger(shop))
  expectRealTimeOrder(effects)
  expectOneAnswerPerKey(shop)
  const explained: Array<{ operation: Operation; products: string[]; index: number }> = []
  const owners = new Set(effects.map(({ owner }) => owner))
  const others = shop.operations.filter((operation) => !owners.has(operation) && hasLooked(operation))
  for (const operation of others.sort((a, b) => a.start - b.start)) {
    const products = productsOf(operation, shop)
    const touching = effects.map(({ rows }) => rows.some(({ productId }) => products.includes(productId)))
    const before = effects.findLastIndex(({ owner }, at) => touching[at] && owner && owner.end < operation.start)
    const seen = explained
      .filter((each) => each.operation.end < operation.start && each.products.some((id) => products.includes(id)))
      .map(({ index }) => index)
    const after = effects.findIndex(({ owner, since }, at) => touching[at] && (owner?.start ?? since) > operation.end)
    const first = Math.max(before, ...seen, -1)
    const last = after === -1 ? effects.length - 1 : after - 1
    let index = first
    while (index <= last && !justifies(stateAt(shop, effects, index), operation, shop)) index++
    expect(index, `no moment explains ${JSON.stringify(operation)}`).toBeLessThanOrEqual(last)
    explained.push({ operation, products, index })
  }
}

const stateAt = (shop: Shop, effects: Effect[], index: number) => effects[index]?.state ?? firstState(shop.productIds)

/** Keeps a transaction's rows together: a concurrent transaction on other products may have taken numbers in between. */
function readLedger({ productIds, sequenceBefore }: Shop): Promise<Row[]> {
  return sql<Row[]>`
    select id, product_id as "productId", location, type, on_hand_delta as "onHandDelta",
           reserved_delta as "reservedDelta", reservation_id as "reservationId", xmin::text as transaction
    from stock_movements
    where product_id = any(${productIds}::uuid[]) and sequence > ${sequenceBefore}
    order by min(sequence) over (partition by xmin::text), sequence`
}

/** Groups rows of one cause and type, which must be adjacent: a reservation is made and ends as a whole, and so do adjustments of one request. */
function group(ledger: Row[], { operations }: Shop): Row[][] {
  const groups: Row[][] = []
  const firstOf = new Map(
    operations.flatMap(({ answer }) =>
      'movements' in answer ? answer.movements.map(({ id }) => [id, answer.movements[0]?.id] as const) : [],
    ),
  )
  const nameOf = ({ id, type, reservationId }: Row) => `${type} ${reservationId ?? firstOf.get(id) ?? id}`
  for (const row of ledger) {
    const last = groups.at(-1)
    if (last?.[0] && nameOf(last[0]) === nameOf(row)) last.push(row)
    else groups.push([row])
  }
  const names = groups.map(([row]) => row && nameOf(row))
  expect(names).toEqual([...new Set(names)])
  return groups
}

/** Applies the ledger to the rules. */
function replay(shop: Shop, ledger: Row[]): Effect[] {
  const effects: Effect[] = []
  let state = firstState(shop.productIds)
  let replaced: Row[] = []
  const groups = group(ledger, shop)
  groups.forEach((rows, index) => {
    const [row] = rows
    if (!row) return
    const id = row.reservationId ?? row.id
    const asked = ownerOf(shop, row, id)
    const next = groups[index + 1]?.[0]
    const by = next?.type === 'reserved' ? ownerOf(shop, next, next.reservationId ?? '') : undefined
    const cart = by?.request.kind === 'reserve' ? by.request.cart : undefined
    const isOfCart = cart !== undefined && state.holds.get(id)?.cart === cart
    // A client that asked for its release at the same time was answered as for a reservation that is already released.
    const isReplaced = row.type === 'released' && isOfCart && next?.transaction === row.transaction
    const owner = isReplaced ? by : asked
    state = apply(state, shop, rows, id, owner)
    // The hold's release and its successor are one step, and nobody sees the state between them.
    if (isReplaced) replaced = rows
    else {
      effects.push({ rows: [...replaced, ...rows], owner, since: owner?.start ?? deadlineOf(shop, id).start, state })
      replaced = []
    }
  })
  const made = shop.operations.filter(
    ({ answer, isReplay }) => ['reserved', 'adjusted'].includes(answer.code) && !isReplay,
  )
  const owned = effects.flatMap(({ owner }) => owner ?? [])
  for (const operation of made) expect(owned, `without effect: ${JSON.stringify(operation)}`).toContain(operation)
  return effects
}

/** The operation that caused the row. If several got that answer, the one that began first: their answers are equal, so any order is valid. */
function ownerOf({ operations }: Shop, { type }: Row, id: string): Operation | undefined {
  const code = type === 'adjustment' ? 'adjusted' : type
  const owners = operations.filter(({ answer, isReplay }) => {
    if (answer.code !== code || isReplay) return false
    if ('movements' in answer) return answer.movements.some((movement) => movement.id === id)
    return 'reservation' in answer && answer.reservation.id === id
  })
  if (type === 'reserved' || type === 'adjustment') expect(owners, `${type} ${id}`).toHaveLength(1)
  return owners.sort((a, b) => a.start - b.start)[0]
}

/** When the hold's deadline passed: some time between start and end. */
function deadlineOf({ operations }: Shop, id: string): { start: number; end: number } {
  const never = { start: Number.POSITIVE_INFINITY, end: Number.POSITIVE_INFINITY }
  return operations.find(({ request }) => request.kind === 'expire' && request.id === id) ?? never
}

function apply(state: State, shop: Shop, rows: Row[], id: string, owner: Operation | undefined): State {
  const [row] = rows
  const lines = rows.map(({ productId, location, reservedDelta }) => ({ productId, location, quantity: reservedDelta }))
  if (row?.type === 'reserved' && owner?.request.kind === 'reserve') {
    const { cart, lines: wanted } = owner.request
    expect(heldFor(state, cart), 'a cart has one hold').toEqual([])
    expect(lines).toEqual(allocate(state, wanted, new Set()).served)
    return hold(state, id, { lines, cart })
  }
  if (row?.type === 'adjustment') {
    expect(owner?.request).toHaveProperty('lines.length', rows.length)
    return rows.reduce((before, { productId, location, onHandDelta: quantity }) => {
      const line = { productId, location, quantity }
      expect(free(before, line) + quantity).toBeGreaterThanOrEqual(0)
      return receive(before, line)
    }, state)
  }
  if (row?.type !== 'confirmed' && row?.type !== 'released' && row?.type !== 'expired') {
    throw new Error(`nobody asked for ${JSON.stringify(row)}`)
  }
  const held = state.holds.get(id)
  expect(held?.state, `${row.type} ${id}`).toBe('held')
  expect(lines.map((line) => ({ ...line, quantity: -line.quantity }))).toEqual(held?.lines)
  const deadline = deadlineOf(shop, id)
  if (row.type === 'expired') expect(deadline.start, `${id} was overdue`).toBeLessThan(Number.POSITIVE_INFINITY)
  else expect(owner?.start, `${row.type} ${id} before its deadline`).toBeLessThan(deadline.end)
  return end(state, id, row.type)
}

/** Fails if an effect follows another effect although its own operation ended before the other's operation began. */
function expectRealTimeOrder(effects: Effect[]): void {
  let latestStart = 0
  for (const { owner, since } of effects) {
    latestStart = Math.max(latestStart, since)
    expect(owner?.end ?? Number.POSITIVE_INFINITY).toBeGreaterThan(latestStart)
  }
}
