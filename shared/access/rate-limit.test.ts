import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { call, functionNamed, newKey } from '#testing'
import { closeBuckets } from './token-bucket.ts'

async function limitTo(settings: Record<string, string | undefined>): Promise<void> {
  overrideEnvironment(settings)
  await closeBuckets()
}

afterEach(() => limitTo({ RATE_LIMIT: undefined }))

describe('a rate limit', () => {
  beforeEach(() => limitTo({ RATE_LIMIT: '2' }))

  it('lets a key send twice its rate at once, tells with each answer what is left, and then refuses', async () => {
    const listProducts = await functionNamed('list-products')
    const key = await newKey('products:read')
    const answers = []
    // With another key: `call` takes longer to check the first answer than a token takes to return.
    await call(listProducts)
    for (let count = 0; count < 5; count++) answers.push(await call(listProducts, { key }))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 429])
    expect(answers.map(({ headers }) => headers.get('ratelimit-policy'))).toEqual(Array(5).fill('"default";q=4;w=2'))
    expect(answers.map(({ headers }) => headers.get('ratelimit'))).toEqual([
      '"default";r=3;t=1',
      '"default";r=2;t=1',
      '"default";r=1;t=2',
      '"default";r=0;t=2',
      '"default";r=0;t=2',
    ])
    expect(answers[4]).toMatchObject({ body: { code: 'rate_limited', status: 429 } })
    expect(answers[4]?.headers.get('retry-after')).toBe('1')
  })

  it('counts each key by itself, whatever it asks, refusals included', async () => {
    const [listProducts, createProduct] = [await functionNamed('list-products'), await functionNamed('create-product')]
    const [one, other] = [await newKey('products:read'), await newKey('products:read')]
    const statuses = []
    for (let count = 0; count < 3; count++) {
      statuses.push(
        (await call(createProduct, { key: one, body: {} })).status,
        (await call(listProducts, { key: one })).status,
      )
    }
    expect(statuses).toEqual([403, 200, 403, 200, 429, 429])
    expect((await call(listProducts, { key: other })).status).toBe(200)
  })

  it('gives tokens back as time passes', async () => {
    const listProducts = await functionNamed('list-products')
    const key = await newKey('products:read')
    for (let count = 0; count < 5; count++) await call(listProducts, { key })
    await vi.waitFor(async () => expect((await call(listProducts, { key })).status).toBe(200), {
      timeout: 5_000,
      interval: 100,
    })
  })

  it('leaves no answer under an idempotency key', async () => {
    const createProduct = await functionNamed('create-product')
    const key = await newKey('products:write')
    const send = () =>
      call(createProduct, { key, body: { sku: 'LIMITED', name: 'Limited' }, headers: { 'idempotency-key': 'once' } })
    for (let count = 0; count < 4; count++) expect((await send()).status).toBe(201)
    expect((await send()).status).toBe(429)
    await vi.waitFor(async () => expect((await send()).status).toBe(201), { timeout: 5_000, interval: 100 })
  })
})

it('of 0 is none', async () => {
  await limitTo({ RATE_LIMIT: '0' })
  const { headers } = await call(await functionNamed('list-products'))
  expect(headers.get('ratelimit')).toBeNull()
})
