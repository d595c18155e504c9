import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Movement, Reservation } from '#stock/schema'
import { Checker } from './checker.ts'
import { compare } from './compare.ts'
import type { Attempt, Truth } from './history.ts'

const own = randomUUID()
const shared = randomUUID()
const LATER = '2099-01-01T00:00:00Z'

let checker: Checker

beforeEach(() => {
  checker = new Checker()
  checker.acknowledged({ kind: 'create', key: 'k1', body: { id: own, stock: { onHand: 5, reserved: 0 } }, isOwn: true })
  checker.acknowledged({
    kind: 'create',
    key: 'k2',
    body: { id: shared, stock: { onHand: 2, reserved: 0 } },
    isOwn: false,
  })
})

function reservation(productId: string, quantity: number, more: Partial<Reservation> = {}): Reservation {
  const line = { productId, sku: 'S', location: 'main', quantity, confirmedQuantity: 0 }
  const times = { expiresAt: LATER, createdAt: LATER, updatedAt: LATER }
  return { id: randomUUID(), state: 'held', lines: [line], reference: 'key', holder: null, ...times, ...more }
}

function sold({ lines, ...held }: Reservation): Reservation {
  return { ...held, state: 'confirmed', lines: lines.map((line) => ({ ...line, confirmedQuantity: line.quantity })) }
}

function reserve(held: Reservation): Reservation {
  checker.acknowledged({ kind: 'reserve', key: 'key', body: held })
  return held
}

const promises = () => checker.findings.map(({ promise }) => promise)

/** Makes a ledger from changes of on hand and reserved, each with its cause. */
function ledger(productId: string, changes: Array<[number, number, Partial<Movement>]>): Movement[] {
  let [onHandAfter, reservedAfter] = [0, 0]
  return changes.map(([onHandDelta, reservedDelta, more]) => {
    onHandAfter += onHandDelta
    reservedAfter += reservedDelta
    const nothing = { reason: null, reference: null, note: null, reservationId: null, actor: 'x', occurredAt: LATER }
    const change = { onHandDelta, reservedDelta, onHandAfter, reservedAfter }
    return { id: randomUUID(), productId, location: 'main', type: 'adjustment', ...change, ...nothing, ...more }
  })
}

/** Makes the final state in which the two products have these ledgers. A product without a ledger was never changed. */
function truth(ledgers: Record<string, Movement[]>, reservations: Reservation[] = []): Truth {
  const movements = new Map(
    Object.entries({ [own]: ledger(own, [[5, 0, {}]]), [shared]: ledger(shared, [[2, 0, {}]]), ...ledgers }),
  )
  const levels = new Map(
    [...movements].map(([id, rows]) => {
      const { onHandAfter: onHand = 0, reservedAfter: reserved = 0 } = rows.at(-1) ?? {}
      return [id, { onHand, reserved }] as const
    }),
  )
  return { at: Date.now(), levels, movements, reservations, versions: new Map(), isConsistent: true }
}

const attempt = (told: string, more: Partial<Attempt> = {}): Attempt => ({
  operation: 'POST /v1/reservations',
  startedAt: 1,
  endedAt: 2,
  told,
  isFirst: true,
  ...more,
})

describe('the checker finds nothing', () => {
  it('in a history that is as it should be', () => {
    const held = reserve(reservation(own, 2))
    checker.read({ of: 'reservation', id: held.id, seen: held })
    checker.read({ of: 'stock', productId: own, seen: { onHand: 5, reserved: 2 } })
    checker.acknowledged({ kind: 'end', key: 'k4', body: sold(held) })
    checker.attempt(attempt('201'), false)
    checker.attempt(attempt('503 unavailable'), true)
    const of = { reservationId: held.id }
    const rows = ledger(own, [
      [5, 0, {}],
      [0, 2, { ...of, type: 'reserved' }],
      [-2, -2, { ...of, type: 'confirmed' }],
    ])
    compare(checker, truth({ [own]: rows }, [sold(held)]))
    expect(checker.findings).toEqual([])
  })
})

describe('the checker finds', () => {
  it('an acknowledged hold that is not there', () => {
    const held = reserve(reservation(shared, 1))
    compare(checker, truth({}))
    expect(checker.findings.map(({ what }) => what).join()).toContain(
      `${held.id} was acknowledged as held, and is not there`,
    )
    expect(promises()).toContain('nothing lost')
  })

  it('an acknowledged adjustment that is not there', () => {
    const [, body] = ledger(shared, [
      [2, 0, {}],
      [3, 0, {}],
    ]) as [Movement, Movement]
    checker.acknowledged({ kind: 'adjust', key: 'k5', body })
    compare(checker, truth({}))
    expect(promises()).toEqual(['nothing lost'])
  })

  it('a sale that is a hold again', () => {
    const held = reserve(reservation(shared, 1))
    checker.acknowledged({ kind: 'end', key: 'k4', body: sold(held) })
    const rows = ledger(shared, [
      [2, 0, {}],
      [0, 1, { reservationId: held.id, type: 'reserved' }],
    ])
    compare(checker, truth({ [shared]: rows }, [held]))
    expect(promises()).toContain('nothing lost')
  })

  it('a hold that was made twice for one key', () => {
    const held = reserve(reservation(shared, 1))
    const twin = { ...held, id: randomUUID() }
    const holds = [held, twin].map(({ id }): [number, number, Partial<Movement>] => [
      0,
      1,
      { reservationId: id, type: 'reserved' },
    ])
    const rows = ledger(shared, [[2, 0, {}], ...holds])
    compare(checker, truth({ [shared]: rows }, [held, twin]))
    expect(promises()).toContain('nothing doubled')
  })

  it('an adjustment that is in the ledger twice', () => {
    const rows = ledger(shared, [
      [2, 0, {}],
      [3, 0, { reference: 'k5' }],
      [3, 0, { reference: 'k5' }],
    ])
    checker.acknowledged({ kind: 'adjust', key: 'k5', body: rows[1] as Movement })
    compare(checker, truth({ [shared]: rows }))
    expect(promises()).toContain('nothing doubled')
  })

  it('a change that nobody was told of', () => {
    compare(
      checker,
      truth({
        [shared]: ledger(shared, [
          [2, 0, {}],
          [1, 0, { reference: 'k9' }],
          [-1, 0, {}],
        ]),
      }),
    )
    expect(promises()).toContain('nothing doubled')
  })

  it('two events for one version', () => {
    checker.delivered({ id: 'a', productId: own, version: 1 })
    checker.delivered({ id: 'a', productId: own, version: 1 })
    expect(checker.findings).toEqual([])
    checker.delivered({ id: 'b', productId: own, version: 1 })
    expect(promises()).toEqual(['nothing doubled'])
  })

  it('an event that was never delivered', () => {
    checker.delivered({ id: 'b', productId: own, version: 2 })
    compare(checker, { ...truth({}), versions: new Map([[own, 2]]) })
    expect(promises()).toEqual(['nothing lost'])
  })

  it('a product that is oversold, by its answers', () => {
    for (let hold = 0; hold < 3; hold++) reserve(reservation(shared, 1))
    compare(checker, truth({}))
    expect(promises()).toContain('never oversold')
  })

  it('a product that was oversold for a moment, by its ledger', () => {
    compare(
      checker,
      truth({
        [shared]: ledger(shared, [
          [2, 0, {}],
          [0, 3, {}],
          [0, -3, {}],
        ]),
      }),
    )
    expect(promises()).toContain('never oversold')
  })

  it('a refusal for want of stock that is there', () => {
    checker.acknowledged({ kind: 'shortage', key: 'k4', lines: [{ productId: own, quantity: 5 }] })
    expect(promises()).toEqual(['nothing lost'])
  })

  it('a read with a token that is stale: of a reservation, of stock, and of stock that others change too', () => {
    const held = reserve(reservation(own, 2))
    checker.read({ of: 'reservation', id: held.id, seen: { code: 'reservation_not_found' } as never })
    checker.read({ of: 'stock', productId: own, seen: { onHand: 5, reserved: 0 } })
    expect(promises()).toEqual(['tokens', 'tokens'])
    const rows = ledger(shared, [
      [2, 0, {}],
      [3, 0, { reference: 'k5' }],
      [1, 0, { reference: 'k6' }],
    ])
    for (const key of ['k5', 'k6'])
      checker.acknowledged({ kind: 'adjust', key, body: rows[key === 'k5' ? 1 : 2] as Movement })
    const after = rows[1] as Movement
    checker.read({ of: 'stock', productId: shared, seen: { onHand: 6, reserved: 0 }, after })
    checker.read({ of: 'stock', productId: shared, seen: { onHand: 2, reserved: 0 }, after })
    compare(checker, truth({ [shared]: rows }))
    expect(checker.findings.filter(({ what }) => what.includes(shared)).map(({ promise }) => promise)).toEqual([
      'tokens',
    ])
  })

  it('an answer that is not documented, a defect, and a refusal where nothing allows one', () => {
    checker.attempt(
      attempt('418', { contradiction: 'POST /v1/reservations answered 418 which is not described' }),
      true,
    )
    checker.attempt(attempt('500 internal'), true)
    checker.attempt(attempt('503 unavailable'), false)
    checker.attempt(attempt('none'), false)
    expect(promises()).toEqual(['documented', 'documented', 'not refused', 'not refused'])
  })

  it('a hold that ends before its deadline', () => {
    const held = reserve(reservation(own, 1))
    checker.acknowledged({ kind: 'not held', key: 'k4', id: held.id, code: 'reservation_expired', at: Date.now() })
    expect(promises()).toEqual(['nothing lost'])
  })

  it('a write that is never decided, whose effect may be there or not', () => {
    checker.neverDecided('k7')
    const rows = ledger(shared, [
      [2, 0, {}],
      [3, 0, { reference: 'k7' }],
    ])
    compare(checker, truth({ [shared]: rows }))
    expect(promises()).toEqual(['recovery'])
  })
})
