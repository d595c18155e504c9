import { beforeEach, describe, expect, it, vi } from 'vitest'
import { logger } from '#telemetry'
import { call, functionNamed, newKey, sql } from '#testing'

const BOOTSTRAP = 'api-key:00000000-0000-7000-8000-000000000000'
const [createApiKey, deleteApiKey, createWebhook, rotateWebhookSecret, deleteWebhook, createProduct] =
  await Promise.all([
    functionNamed('create-api-key'),
    functionNamed('delete-api-key'),
    functionNamed('create-webhook'),
    functionNamed('rotate-webhook-secret'),
    functionNamed('delete-webhook'),
    functionNamed('create-product'),
  ])

let told: object[]

beforeEach(() => {
  told = []
  vi.spyOn(logger(), 'info').mockImplementation((entry: unknown) => {
    if (typeof entry === 'object' && entry !== null && 'security' in entry) told.push(entry)
  })
})

describe('the log tells, with the actor and without a secret,', () => {
  it('that a key was made, once for a request that is repeated, and that it was revoked', async () => {
    const request = { body: { name: 'x', scopes: ['stock:read', 'jobs:read'] }, headers: { 'idempotency-key': 'made' } }
    const { body } = await call(createApiKey, request)
    await call(createApiKey, request)
    await call(deleteApiKey, { params: { apiKeyId: body.id } })
    expect(told).toEqual([
      { security: 'api_key_made', actor: BOOTSTRAP, api_key_id: body.id, scopes: 'stock:read jobs:read' },
      { security: 'api_key_revoked', actor: BOOTSTRAP, api_key_id: body.id },
    ])
    expect(JSON.stringify(told)).not.toContain(body.key)
  })

  it('that a webhook was made, given another secret, and deleted', async () => {
    const { body } = await call(createWebhook, {
      body: { url: 'https://shop.example.org/hook', events: ['stock.low'] },
    })
    await call(rotateWebhookSecret, { params: { webhookId: body.id } })
    await call(deleteWebhook, { params: { webhookId: body.id } })
    expect(told).toEqual([
      { security: 'webhook_made', actor: BOOTSTRAP, webhook_id: body.id, host: 'shop.example.org' },
      { security: 'webhook_secret_rotated', actor: BOOTSTRAP, webhook_id: body.id },
      { security: 'webhook_deleted', actor: BOOTSTRAP, webhook_id: body.id },
    ])
  })

  it('that a key wanted what it may not do: a route, or a part of what a route does', async () => {
    const key = await newKey('products:write')
    const [{ id } = { id: '' }] = await sql<
      Array<{ id: string }>
    >`select id from api_keys where prefix = ${key.slice(0, 12)}`
    told = []
    await call(createApiKey, { key, body: { name: 'x', scopes: ['admin'] } })
    await call(createProduct, { key, body: { sku: 'X', name: 'x', initialStock: 1 } })
    expect(told).toEqual([
      { security: 'forbidden', actor: `api-key:${id}`, function: 'create-api-key' },
      { security: 'forbidden', actor: `api-key:${id}`, function: 'create-product' },
    ])
  })

  it('that a request had no valid key, with where it came from', async () => {
    await call(createProduct, { key: null, body: {} })
    await call(createProduct, { key: 'guess', body: {} })
    expect(told).toEqual([{ security: 'unauthenticated', origin: 'in process' }])
  })
})
