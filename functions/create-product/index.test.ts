import { describe, expect, it } from 'vitest'
import { call } from '#testing'
import createProduct from './index.ts'

describe('create-product', () => {
  it('creates with only sku and name, and fills in the rest', async () => {
    const { status, body, headers } = await call(createProduct, { body: { sku: 'MUG-1', name: 'Mug' } })
    expect(status).toBe(201)
    expect(headers.get('location')).toBe(`/v1/products/${body.id}`)
    expect(headers.get('etag')).toBe('"1.1"')
    expect(headers.get('consistency-token')).toMatch(/^[0-9A-F]+-[0-9A-F]+\/[0-9A-F]+$/)
    expect(body).toMatchObject({
      sku: 'MUG-1',
      description: null,
      price: null,
      attributes: {},
      status: 'active',
      lowStockThreshold: null,
      version: 1,
      stock: { onHand: 0, reserved: 0, available: 0 },
    })
  })
})
