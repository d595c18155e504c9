import { describe, expect, it } from 'vitest'
import { ADMIN_KEY, call, expectNoEffect, functionNamed, newKey, sql } from '#testing'
import deleteApiKey from './index.ts'

const BOOTSTRAP_ID = '00000000-0000-7000-8000-000000000000'
const remove = (apiKeyId: string, key = ADMIN_KEY) => call(deleteApiKey, { params: { apiKeyId }, key })
const tryKey = async (key: string) => (await call(await functionNamed('list-products'), { key })).status
const idOf = async (key: string) => (await sql`select id from api_keys where prefix = ${key.slice(0, 12)}`)[0]?.id

describe('delete-api-key', () => {
  it('revokes a key, which is refused here from then on', async () => {
    const key = await newKey('products:read')
    expect(await tryKey(key)).toBe(200)
    const { status, body } = await remove(await idOf(key))
    expect([status, body]).toEqual([204, undefined])
    expect(await tryKey(key)).toBe(401)
    expect(await idOf(key)).toBeUndefined()
  })

  it('answers 404 for a key that is not there, or no longer', async () => {
    const id = await idOf(await newKey('products:read'))
    await remove(id)
    for (const missing of [id, crypto.randomUUID()]) {
      const answer = await expectNoEffect(() => remove(missing))
      expect(answer).toMatchObject({ status: 404, body: { code: 'api_key_not_found' } })
    }
  })

  it('refuses to delete the last admin key; keys of other scopes and those that expire, however late, do not count', async () => {
    await newKey('products:write', 'jobs:write')
    const [expired, expiring] = [await idOf(await newKey('admin')), await idOf(await newKey('admin'))]
    await sql`update api_keys set expires_at = now() - interval '1 second' where id = ${expired}`
    await sql`update api_keys set expires_at = now() + interval '10 years' where id = ${expiring}`
    const answer = await expectNoEffect(() => remove(BOOTSTRAP_ID))
    expect(answer).toMatchObject({ status: 409, body: { code: 'last_admin_key' } })
    expect([(await remove(expired)).status, (await remove(expiring)).status]).toEqual([204, 204])
  })

  it('remembers what it has revoked for 90 days', async () => {
    const [one, other] = [await idOf(await newKey('stock:read')), await idOf(await newKey('stock:read'))]
    await remove(one)
    await sql`update revoked_api_keys set revoked_at = now() - interval '91 days' where api_key_id = ${one}`
    await remove(other)
    const kept = await sql`select revoked_by from revoked_api_keys where api_key_id in ${sql([one, other])}`
    expect(kept).toEqual([{ revoked_by: `api-key:${BOOTSTRAP_ID}` }])
  })

  it('leaves one when two admins revoke each other at once', async () => {
    const [one, two] = [await newKey('admin'), await newKey('admin')]
    const [oneId, twoId] = [await idOf(one), await idOf(two)]
    // Both keys are in this process's cache by now, so both requests are authenticated.
    expect([await tryKey(one), await tryKey(two)]).toEqual([200, 200])
    const [row] = await sql`delete from api_keys where id = ${BOOTSTRAP_ID} returning *`
    const answers = await Promise.all([remove(twoId, one), remove(oneId, two)])
    await sql`insert into api_keys ${sql([row as object])}`
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 409])
    expect(await sql`select 1 from api_keys where id in ${sql([oneId, twoId])}`).toHaveLength(1)
  })
})
