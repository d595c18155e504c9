import { describe, expect, it } from 'vitest'
import { call, expectPaging, newKey, sql, walk } from '#testing'
import listApiKeys from './index.ts'

describe('list-api-keys', () => {
  it('gives every key, newest first, and no secret of any', async () => {
    const secret = await newKey('stock:read', 'jobs:write')
    const { status, body } = await call(listApiKeys)
    expect(status).toBe(200)
    expect(body.items).toMatchObject([{ name: 'test', scopes: ['stock:read', 'jobs:write'] }, { name: 'bootstrap' }])
    expect(Object.keys(body.items[0]).sort()).toEqual(['createdAt', 'expiresAt', 'id', 'name', 'prefix', 'scopes'])
    expect(JSON.stringify(body)).not.toContain(secret.slice(13))
    expect(secret.startsWith(body.items[0].prefix)).toBe(true)
  })

  it('is read in pages', async () => {
    await newKey('admin')
    await expectPaging(listApiKeys)
  })

  it('gives each key that was there at the start exactly once, while others are made', async () => {
    for (let index = 0; index < 8; index++) await newKey('admin')
    const before = (await sql`select id from api_keys order by id desc`).map(({ id }) => id)
    const items = await walk(listApiKeys, {}, 3, () => newKey('admin'))
    expect(items.map(({ id }) => id)).toEqual(before)
  })
})
