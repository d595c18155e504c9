import { createHash, randomUUID } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type IdempotencyKey, type RequestContext, type Sql, systemContext } from '#database'
import { adjustStock, confirm, countStock, getStock, reserve } from '#stock'
import { ReserveRequest } from '#stock/schema'
import { renderMetrics } from '#telemetry'
import { blocked, expectConsistent, expire, hold, inRivalSession, newProduct, sql } from '#testing'

const context = () => systemContext('function:test')

function contextWith(key: string): RequestContext & { idempotency: IdempotencyKey } {
  const fingerprint = createHash('sha256').update(key).digest()
  const idempotency = { apiKeyId: randomUUID(), key, fingerprint, requestId: 'first' }
  return { ...context(), idempotency }
}

/** Numbers of transactions that were run again, by reason. */
async function retries(): Promise<Record<string, number>> {
  const counts = (await renderMetrics()).matchAll(/database_transaction_retries_total\{reason="(\w+)"\} (\d+)/g)
  return Object.fromEntries([...counts].map(([, reason, count]) => [reason, Number(count)]))
}

/** Expects at least one more retry for this reason, and none for another: the lock can be taken again before the waiting rival wakes. */
async function expectRetries(before: Record<string, number>, reason: string): Promise<void> {
  const { [reason]: count, ...others } = await retries()
  const { [reason]: countBefore = 0, ...othersBefore } = before
  expect(count).toBeGreaterThan(countBefore)
  expect(others).toEqual(othersBefore)
}

/** Two products, in the order in which all transactions lock them. */
async function pair(): Promise<[string, string]> {
  const products = [await newProduct({ initialStock: 10 }), await newProduct({ initialStock: 10 })]
  const [first = '', second = ''] = products.map(({ id }) => id).sort()
  return [first, second]
}

const lock = (rival: Sql, productId: string) => rival`
  select 1 from stock_levels where product_id = ${productId} for update`

/** Runs `work` into a deadlock with a session that locks the pair in reverse order. That session checks for deadlocks later, so `work` is aborted. */
async function intoDeadlock<Result>([first, second]: [string, string], work: () => Promise<Result>): Promise<Result> {
  return inRivalSession(async (rival) => {
    await rival`set local deadlock_timeout = '30s'`
    await lock(rival, second)
    const working = work()
    await blocked()
    await lock(rival, first)
    await rival`commit`
    return working
  })
}

afterEach(expectConsistent)

describe('after a deadlock with a session that locks in the opposite order', () => {
  it('a reservation is made by the next attempt, once, and the retry is counted', async () => {
    const products = await pair()
    const lines = products.map((productId) => ({ productId, quantity: 3 }))
    const request = ReserveRequest.parse({ lines, reference: 'deadlocked' })
    const by = contextWith('deadlocked')
    const before = await retries()
    const made = await intoDeadlock(products, () => reserve(request, by))
    await expectRetries(before, 'deadlock_detected')
    expect(by.response.replayedFrom).toBeUndefined()
    const again = { ...by, idempotency: { ...by.idempotency } }
    expect(await reserve(request, again)).toEqual(made)
    expect(again.response.replayedFrom).toBe('first')
    expect(await sql`select id from reservations where reference = 'deadlocked'`).toEqual([{ id: made.id }])
    for (const id of products) expect(await getStock(id, context())).toMatchObject({ onHand: 10, reserved: 3 })
  })

  it('those that share its transaction, and those behind it, are each served once', async () => {
    const products = await pair()
    const lines = products.map((productId) => ({ productId, quantity: 1 }))
    const before = await retries()
    const made = await intoDeadlock(products, async () => {
      // The first goes alone. The rest share the next transaction, which is retried.
      const alone = hold([{ productId: (await newProduct({ initialStock: 1 })).id, quantity: 1 }])
      const rest = Array.from({ length: 8 }, (_, index) => hold(index % 2 ? lines : [...lines].reverse()))
      await alone
      return Promise.all(rest)
    })
    await expectRetries(before, 'deadlock_detected')
    expect(new Set(made.map(({ id }) => id)).size).toBe(8)
    for (const id of products) expect(await getStock(id, context())).toMatchObject({ onHand: 10, reserved: 8 })
  })

  it('a confirmation takes the goods once', async () => {
    const products = await pair()
    const { id } = await hold(products.map((productId) => ({ productId, quantity: 4 })))
    const before = await retries()
    const confirmed = await intoDeadlock(products, () => confirm(id, {}, context()))
    await expectRetries(before, 'deadlock_detected')
    expect(confirmed.state).toBe('confirmed')
    for (const product of products) expect(await getStock(product, context())).toMatchObject({ onHand: 6, reserved: 0 })
  })
})

describe('after a lock that could not be had in time', () => {
  it('a stocktake counts with the next attempt, with what has happened meanwhile, and the retry is counted', async () => {
    const { id: productId } = await newProduct({ initialStock: 10 })
    const before = await retries()
    const count = await inRivalSession(async (rival) => {
      await rival`lock table stock_levels in row exclusive mode`
      const counting = countStock({ counts: [{ productId, counted: 7 }] }, context())
      await vi.waitFor(() => expectRetries(before, 'lock_not_available'), { timeout: 5_000, interval: 5 })
      await adjustStock(productId, { quantity: -2, reason: 'lost' }, context())
      await rival`commit`
      return counting
    })
    expect(count).toEqual({ counts: [{ productId, location: 'main', before: 8, counted: 7, variance: -1 }] })
  })
})

describe('after a refusal while an overdue hold was left', () => {
  it('what shares its transaction under a key is done once, by a later attempt, and not taken for done before', async () => {
    const [productId, other] = await pair()
    const overdue = await hold([productId, other].map((id) => ({ productId: id, quantity: 7 })))
    await expire(overdue.id)
    const before = await retries()
    const request = (quantity: number) => ReserveRequest.parse({ lines: [{ productId, quantity }] })
    const by = contextWith('beside a refusal')
    const { answers } = await inRivalSession(async (rival) => {
      // The hold can't be ended while its other product is locked.
      await lock(rival, other)
      // The first goes alone. The others share the next transaction.
      const alone = hold([{ productId: (await newProduct({ initialStock: 1 })).id, quantity: 1 }])
      const answers = Promise.allSettled([reserve(request(2), by), reserve(request(9), context()), alone])
      await vi.waitFor(() => expectRetries(before, 'stale_read'), { timeout: 5_000, interval: 5 })
      return { answers }
    })
    const [made, refused] = await answers
    expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'insufficient_stock' } })
    expect(made).toMatchObject({ status: 'fulfilled', value: { state: 'held' } })
    expect(by.response.replayedFrom).toBeUndefined()
    expect(await getStock(productId, context())).toMatchObject({ onHand: 10, reserved: 2 })
  })
})
