import { afterAll, describe, expect, it } from 'vitest'
import { call, expectConsistent, hold, newProduct, sql } from '#testing'
import auditStock from './index.ts'

afterAll(expectConsistent)

describe('audit-stock', () => {
  it('finds nothing where all is well, and tells how many products it has looked at', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    await newProduct()
    await hold([{ productId: id, quantity: 3 }])
    const { status, body } = await call(auditStock)
    expect(status).toBe(200)
    expect(body).toEqual({ consistent: true, checkedProducts: 2, discrepancies: [] })
  })

  it('names a balance that differs from the ledger or from the holds', async () => {
    const { id } = await newProduct({ initialStock: 10 })
    await sql`update stock_levels set on_hand = 12, reserved = 1 where product_id = ${id}`
    const { body } = await call(auditStock)
    expect(body.consistent).toBe(false)
    const wrong = { onHand: 12, reserved: 1, ledgerOnHand: 10, ledgerReserved: 0, heldReserved: 0 }
    expect(body.discrepancies).toEqual([{ productId: id, location: 'main', ...wrong }])
    await sql`update stock_levels set on_hand = 10, reserved = 0 where product_id = ${id}`
    expect((await call(auditStock)).body.consistent).toBe(true)
  })
})
