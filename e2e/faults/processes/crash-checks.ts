import { expect } from 'vitest'
import type { Movement, Reservation } from '#stock/schema'
import { call, expectConsistent, functionNamed, sql } from '#testing'
import type { Client } from '../client.ts'
import type { Fleet } from '../fleet.ts'
import type { Answered } from './crash-load.ts'

/** Fails unless every request got an answer that an undisturbed service might give: done, or refused because of too little stock. */
export function expectPlainAnswers(answered: Answered[]): void {
  const expected = { reserve: '201', confirm: '200', release: '200', adjust: '201' }
  for (const { kind, write, answer } of answered) {
    const told = answer.code ? `${answer.status} ${answer.code}` : String(answer.status)
    const isSettling = kind === 'confirm' || kind === 'release'
    expect([expected[kind], ...(isSettling ? [] : ['409 insufficient_stock'])], write.key).toContain(told)
  }
}

/** Fails unless repeating each request with its key returns the same answer, byte for byte. */
export async function expectReplays(answered: Answered[], fleet: Fleet, client: Client): Promise<void> {
  const queue = [...answered]
  const ask = async () => {
    for (let next = queue.pop(); next; next = queue.pop()) {
      const { functionName, write, answer } = next
      const again = await client.sendUntilAnswered(() => fleet.of(functionName)[0]?.url() ?? '', write)
      // The token is of the current moment: it also covers later commits.
      expect({ ...again, token: undefined }, write.key).toEqual({ ...answer, token: undefined, isReplay: true })
    }
  }
  await Promise.all(Array.from({ length: 8 }, ask))
}

interface Effects {
  /** Stock by product. */
  levels: Array<{ productId: string; onHand: number; reserved: number }>
  reservations: Array<{ id: string; reference: string; state: string }>
  /** Ledger rows of each reservation by type, and of each adjustment. */
  ledger: Array<{ cause: string; type: string; rows: number }>
}

/** Fails unless the products' stock, ledger and reservations match the answers: nothing missing, nothing twice. */
export async function expectEffects(answered: Answered[], productIds: string[], initialStock: number): Promise<void> {
  expect(await actualEffects(productIds)).toEqual(expectedEffects(answered, productIds, initialStock))
  await expectConsistent()
  const audit = await call(await functionNamed('audit-stock'))
  expect(audit.body).toMatchObject({ consistent: true, discrepancies: [] })
}

async function actualEffects(productIds: string[]): Promise<Effects> {
  const levels = await sql<Effects['levels']>`
    select product_id as "productId", on_hand as "onHand", reserved from stock_levels
    where product_id = any(${productIds}::uuid[]) order by product_id`
  const reservations = await sql<Effects['reservations']>`
    select id, reference, state from reservations
    where id in (select reservation_id from reservation_lines where product_id = any(${productIds}::uuid[])) order by id`
  const ledger = await sql<Effects['ledger']>`
    select coalesce(reservation_id::text, reference, 'creation') collate "C" as cause, type, count(*)::int as rows from stock_movements
    where product_id = any(${productIds}::uuid[]) group by 1, 2 order by 1, 2`
  return { levels: [...levels], reservations: [...reservations], ledger: [...ledger] }
}

/** Computes the effects that follow from the answers alone. */
function expectedEffects(answered: Answered[], productIds: string[], initialStock: number): Effects {
  const levels = [...productIds].sort().map((productId) => ({ productId, onHand: initialStock, reserved: 0 }))
  const reservations = new Map<string, Effects['reservations'][number]>()
  const ledger: Effects['ledger'] = [{ cause: 'creation', type: 'adjustment', rows: productIds.length }]
  const change = (productId: string, onHandDelta: number, reservedDelta: number) => {
    const level = levels.find((each) => each.productId === productId)
    if (!level) throw new Error(`an answer names the product ${productId}, which is not of this cycle`)
    level.onHand += onHandDelta
    level.reserved += reservedDelta
  }
  for (const { kind, write, answer } of answered) {
    if (answer.status >= 300) continue
    if (kind === 'adjust') {
      const { productId, onHandDelta } = JSON.parse(answer.text) as Movement
      change(productId, onHandDelta, 0)
      ledger.push({ cause: write.key, type: 'adjustment', rows: 1 })
      continue
    }
    const { id, lines, state, reference } = JSON.parse(answer.text) as Reservation
    for (const { productId, quantity, confirmedQuantity } of lines) {
      change(productId, -confirmedQuantity, kind === 'reserve' ? quantity : -quantity)
    }
    const type = kind === 'reserve' ? 'reserved' : state
    ledger.push({ cause: id, type, rows: lines.length })
    // A client confirms or releases after it has reserved, so the later answer is the later state.
    reservations.set(id, { id, reference: reference ?? '', state })
  }
  return {
    levels,
    reservations: [...reservations.values()].sort((a, b) => (a.id < b.id ? -1 : 1)),
    ledger: ledger.sort((a, b) => (`${a.cause} ${a.type}` < `${b.cause} ${b.type}` ? -1 : 1)),
  }
}
