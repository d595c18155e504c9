import { describe, expect, it } from 'vitest'
import { call, expectNoEffect, functionNamed, sql } from '#testing'
import createApiKey from './index.ts'

const send = (body: object) => call(createApiKey, { body })
const tryKey = async (key: string) => (await call(await functionNamed('list-products'), { key })).status

describe('create-api-key', () => {
  it('makes a key that works, and shows it this once: only a hash is kept', async () => {
    const { status, body, headers } = await send({
      name: ' ci ',
      scopes: ['products:read', 'stock:write', 'products:read'],
    })
    expect(status).toBe(201)
    expect(headers.get('location')).toBe(`/v1/api-keys/${body.id}`)
    expect(body).toEqual({
      id: body.id,
      name: 'ci',
      scopes: ['products:read', 'stock:write'],
      prefix: body.key.slice(0, 12),
      expiresAt: null,
      createdAt: body.createdAt,
      key: body.key,
    })
    expect(body.key).toMatch(/^smk_[0-9a-f]{8}_[A-Za-z0-9_-]{40}$/)
    expect(await tryKey(body.key)).toBe(200)
    const [row] = await sql`select api_keys::text as text from api_keys where id = ${body.id}`
    expect(row?.text).not.toContain(body.key.slice(13))
  })

  it('makes a key that stops working when it expires', async () => {
    const { body } = await send({ name: 'x', scopes: ['admin'], expiresAt: '2999-01-01T01:00:00+01:00' })
    expect(body.expiresAt).toBe('2999-01-01T00:00:00.000Z')
    expect(await tryKey(body.key)).toBe(200)
    // To this process, the key is like one that another process made: it caches nothing about a key that was never used here.
    const expired = (await send({ name: 'y', scopes: ['admin'], expiresAt: '2999-01-01T00:00:00Z' })).body
    await sql`update api_keys set expires_at = now() - interval '1 second' where id = ${expired.id}`
    expect(await tryKey(expired.key)).toBe(401)
  })

  it('never makes the same key twice', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => send({ name: 'x', scopes: ['admin'] })))
    expect(new Set(answers.map(({ body }) => body.key)).size).toBe(20)
  })

  it.each([
    ['name', { name: '' }],
    ['name', { name: '   ' }],
    ['name', { name: 'x'.repeat(201) }],
    ['name', { name: 'a\u0000' }],
    ['name', { name: 'a\ud800' }],
    ['name', { name: undefined }],
    ['scopes', { scopes: [] }],
    ['scopes', { scopes: 'admin' }],
    ['scopes', { scopes: undefined }],
    ['scopes.1', { scopes: ['admin', 'root'] }],
    ['scopes', { scopes: Array.from({ length: 10 }, () => 'admin') }],
    ['expiresAt', { expiresAt: 'tomorrow' }],
    ['expiresAt', { expiresAt: '2999-02-30T00:00:00Z' }],
    ['expiresAt', { expiresAt: '2001-01-01T00:00:00Z' }],
    ['expiresAt', { expiresAt: 1 }],
    ['key', { key: 'mine' }],
    ['id', { id: crypto.randomUUID() }],
  ])('refuses a wrong %s: %j', async (path, members) => {
    const answer = await expectNoEffect(() => send({ name: 'x', scopes: ['admin'], ...members }))
    expect(answer).toMatchObject({ status: 422, body: { errors: [{ path }] } })
  })
})
