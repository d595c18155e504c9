import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { systemContext } from '#database'
import { confirm, extend, getReservation, getStock, release, sweepReservations } from '#stock'
import { blocked, expectConsistent, expire, hold, inRivalSession, newProduct, sql } from '#testing'
import { EXPIRED_MAX } from './balances/lock-stock.ts'

const context = () => systemContext('function:test')
const codeOf = (work: Promise<unknown>) => work.then(() => 'done').catch((error: { code: string }) => error.code)

/** The time until the deadline. Confirmations are sent from now until as long after the deadline. */
const DEADLINE_MS = 250
const HOLDS = 16
const ATTEMPTS_MAX = 2_000

afterEach(expectConsistent)

async function moveDeadline(id: string): Promise<void> {
  await sql`
    with moved as (
      update reservations set expires_at = clock_timestamp() + ${DEADLINE_MS} * interval '1 millisecond' where id = ${id}
      returning id, expires_at
    )
    update reservation_lines set held_until = moved.expires_at from moved where reservation_id = moved.id`
}

describe('at the moment of its deadline, by the clock', () => {
  it('a hold is confirmed, or its goods go to another: one of the two, whoever comes when', async () => {
    const endings = await Promise.all(
      Array.from({ length: HOLDS }, async (_, index) => {
        const { id: productId } = await newProduct({ initialStock: 1 })
        const lines = [{ productId, quantity: 1 }]
        const { id } = await hold(lines)
        await moveDeadline(id)
        let confirmed: string | undefined
        const confirming = sleep(((2 * index) / HOLDS) * DEADLINE_MS).then(async () => {
          confirmed = await codeOf(confirm(id, {}, context()))
        })
        let taken = ''
        for (let attempt = 0; attempt < ATTEMPTS_MAX && taken !== 'done' && confirmed !== 'done'; attempt++) {
          if (attempt % 10 === 9) await sweepReservations(context())
          taken = await codeOf(hold(lines))
        }
        await confirming
        const { state } = await getReservation(id, context())
        const { onHand, reserved } = await getStock(productId, context())
        return { confirmed, taken, state, onHand, reserved }
      }),
    )
    const sold = { confirmed: 'done', taken: 'insufficient_stock', state: 'confirmed', onHand: 0, reserved: 0 }
    const lost = { confirmed: 'reservation_expired', taken: 'done', state: 'expired', onHand: 1, reserved: 1 }
    for (const ending of endings) expect([sold, lost]).toContainEqual(ending)
    expect(endings).toContainEqual(sold)
    expect(endings).toContainEqual(lost)
  })
})

describe('a hold that is overdue', () => {
  it.each([
    ['confirmed', confirm],
    ['released', (id: string, _: object, by: ReturnType<typeof context>) => release(id, by)],
  ] as const)('gives its goods back when another of the same product is %s for the second time', async (_, settle) => {
    const { id: productId } = await newProduct({ initialStock: 10 })
    const overdue = await hold([{ productId, quantity: 3 }])
    const { id } = await hold([{ productId, quantity: 1 }])
    await settle(id, {}, context())
    await expire(overdue.id)
    await settle(id, {}, context())
    expect(await getStock(productId, context())).toMatchObject({ reserved: 0 })
  })

  it('is refused, be there more overdue holds of its product than one transaction ends', async () => {
    const { id: productId } = await newProduct({ initialStock: 1_000 })
    const made = await Promise.all(Array.from({ length: EXPIRED_MAX + 3 }, () => hold([{ productId, quantity: 1 }])))
    const [confirming, releasing, extending, ...others] = made.map(({ id }) => id) as [string, string, string]
    await expire(...others)
    // These deadlines are later than all others, whose holds are ended first.
    for (const id of [confirming, releasing, extending]) {
      await sql`update reservations set expires_at = now() - interval '1 second' where id = ${id}`
      await sql`update reservation_lines set held_until = now() - interval '1 second' where reservation_id = ${id}`
    }
    const codes = [
      confirm(confirming, {}, context()),
      release(releasing, context()),
      extend(extending, { ttlSeconds: 60 }, context()),
    ].map(codeOf)
    expect(await Promise.all(codes)).toEqual(['reservation_expired', 'not_held', 'not_held'])
    await sweepReservations(context())
    expect(await getStock(productId, context())).toMatchObject({ onHand: 1_000, reserved: 0 })
  })

  it('gives its goods back although somebody works on it, once they are done', async () => {
    const { id: productId } = await newProduct({ initialStock: 1 })
    const lines = [{ productId, quantity: 1 }]
    const { id } = await hold(lines)
    await expire(id)
    const taking = await inRivalSession(async (rival) => {
      await rival`select 1 from reservations where id = ${id} for update`
      const work = hold(lines)
      await blocked()
      return { work }
    })
    expect(await taking.work).toMatchObject({ state: 'held' })
  })
})
