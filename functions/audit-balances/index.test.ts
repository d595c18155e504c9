import { afterEach, expect, it, vi } from 'vitest'
import { eventRequest } from '#function'
import { logger } from '#telemetry'
import { hold, newProduct, sql } from '#testing'
import { metric } from '#testing/metrics'
import auditBalances from './index.ts'

async function tick(): Promise<{ audited: number }> {
  const attributes = { id: 'tick', source: 'test', specversion: '1.0', type: 'schedule.tick' } as const
  const response = await auditBalances.app.fetch(eventRequest(attributes, {}))
  expect(response.status).toBe(200)
  return (await response.json()) as { audited: number }
}

afterEach(() => {
  vi.restoreAllMocks()
})

const at = (result: string) => metric(`stock_audit_timestamp_seconds{result="${result}"}`)
const count = (result: string) => metric(`stock_audits_total{result="${result}"}`)

it('tells of a wrong balance wherever the audit stands, and that all is well again after one that has found none', async () => {
  for (let product = 0; product < 3; product++) {
    const { id } = await newProduct({ initialStock: 10 })
    await hold([{ productId: id, quantity: 3 }])
  }
  expect(await tick()).toEqual({ audited: 3 })
  expect([await count('consistent'), await at('inconsistent')]).toEqual([1, 0])
  const [{ id } = { id: '' }] = await sql<Array<{ id: string }>>`select id from products order by random() limit 1`
  const errors = vi.spyOn(logger(), 'error').mockImplementation(() => {})
  await sql`update stock_levels set on_hand = 12 where product_id = ${id}`
  expect(await tick()).toEqual({ audited: 3 })
  const discrepancies = [expect.objectContaining({ productId: id, onHand: 12, ledgerOnHand: 10 })]
  expect(errors.mock.calls).toEqual([[{ discrepancies }, expect.any(String)]])
  expect([await count('consistent'), await count('inconsistent')]).toEqual([1, 1])
  expect(await at('inconsistent')).toBeGreaterThan(await at('consistent'))
  await sql`update stock_levels set on_hand = 10 where product_id = ${id}`
  await tick()
  expect(await count('consistent')).toBe(2)
  expect(await at('consistent')).toBeGreaterThan(await at('inconsistent'))
})

it('gets to every product, in parts, and counts an audit for each time round', async () => {
  await sql`
    with added as (
      insert into products (id, sku, name) select gen_random_uuid(), 'P-' || number, 'x' from generate_series(1, 450) as number
      returning id
    )
    insert into stock_levels (product_id, location, on_hand, reserved, version) select id, 'main', 0, 0, 1 from added`
  // Ends the audit that was begun when there were only the three earlier products.
  await tick()
  // With this clock, each chunk takes all of a run's time.
  let now = performance.now()
  vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 1_000
    return now
  })
  const before = await count('consistent')
  const parts: number[] = []
  while ((await count('consistent')) === before) parts.push((await tick()).audited)
  // After the last product by id, the audit continues with the first, wherever it began.
  expect(parts.every((part) => part > 0 && part <= 100)).toBe(true)
  expect(parts.reduce((sum, part) => sum + part, 0)).toBe(453)
})
