import { expect, it } from 'vitest'
import { systemContext } from '#database'
import { sweepReservations } from '#stock'
import { call, expire, functionNamed, hold, newProduct } from '#testing'
import { metric } from '#testing/metrics'

const outcomes = ['held', 'confirmed', 'released', 'expired'] as const

/** Reservations and pieces by outcome, so far. */
function counts(): Promise<number[]> {
  const series = outcomes.flatMap((outcome) => [
    `stock_reservations_total{outcome="${outcome}"}`,
    `stock_reservation_units_total{outcome="${outcome}"}`,
  ])
  return Promise.all(series.map(metric))
}

/** What `work` has added to the counts: `[reservations, pieces]` of each outcome that it has changed. */
async function added(work: () => Promise<unknown>) {
  const before = await counts()
  await work()
  const after = await counts()
  const growth = after.map((count, index) => count - (before[index] ?? 0))
  return Object.fromEntries(
    outcomes.flatMap((outcome, at) => {
      const [reservations = 0, pieces = 0] = growth.slice(2 * at, 2 * at + 2)
      return reservations + pieces > 0 ? [[outcome, [reservations, pieces]]] : []
    }),
  )
}

it('counts reservations and their pieces by what becomes of them, once each, after the commit', async () => {
  const [first, second] = await Promise.all([newProduct({ initialStock: 100 }), newProduct({ initialStock: 100 })])
  const lines = [
    { productId: first.id, quantity: 3 },
    { productId: second.id, quantity: 2 },
  ]
  const [confirm, release, reserve] = await Promise.all(
    ['confirm-reservation', 'release-reservation', 'reserve-stock'].map(functionNamed),
  )
  if (!confirm || !release || !reserve) throw new Error('a function is missing')
  const at = (reservationId: string) => ({ params: { reservationId } })
  const held: string[] = []
  const holdThree = async () => {
    for (let count = 0; count < 3; count++) held.push((await hold(lines)).id)
  }
  expect(await added(holdThree)).toEqual({ held: [3, 15] })
  const [sold = '', given = '', overdue = ''] = held

  const part = { body: { lines: [{ productId: first.id, quantity: 1 }] } }
  expect(await added(() => call(confirm, { ...at(sold), ...part }))).toEqual({ confirmed: [1, 1], released: [0, 4] })
  expect(await added(() => call(confirm, at(sold)))).toEqual({})
  expect(await added(() => call(release, at(given)))).toEqual({ released: [1, 5] })
  await expire(overdue)
  expect(await added(() => sweepReservations(systemContext('function:test')))).toEqual({ expired: [1, 5] })
  const tooMany = { lines: [{ productId: first.id, quantity: 1_000 }] }
  expect(await added(() => call(reserve, { body: tooMany }))).toEqual({})
})
