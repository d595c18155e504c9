import { afterEach, describe, expect, it } from 'vitest'
import { ensureBootstrapKey } from '#access'
import { closeDatabase } from '#database'
import { call, expectNoEffect, functionNamed, newKey as newApiKey, sql } from '#testing'
import { DEVELOPMENT_KEY } from './bootstrap-key.ts'
import { forgetKnownKeys } from './identify.ts'
import { digestOf, newKey } from './key-format.ts'

/** Makes the test's database look like one of another server. Its setting applies to new connections. */
async function pretend(isEmbedded: boolean): Promise<void> {
  const [{ name } = { name: '' }] = await sql<Array<{ name: string }>>`select current_database() as name`
  await sql.unsafe(`alter database ${name} set stock_management.embedded = '${isEmbedded ? 'on' : 'off'}'`)
  await closeDatabase()
  forgetKnownKeys()
}

const statusWith = async (key: string) => (await call(await functionNamed('list-products'), { key })).status

const idOf = async (key: string) => (await sql`select id from api_keys where prefix = ${key.slice(0, 12)}`)[0]?.id

/** Inserts the key as a dump of an embedded database would contain it. */
const plant = () => sql`
  insert into api_keys (id, name, scopes, prefix, key_hash)
  values (gen_random_uuid(), 'x', array['admin'], 'dev', ${digestOf(DEVELOPMENT_KEY)}) on conflict do nothing`

describe('the development key', () => {
  afterEach(() => pretend(true))

  it('is taken on the embedded database', async () => {
    await ensureBootstrapKey(DEVELOPMENT_KEY)
    expect(await statusWith(DEVELOPMENT_KEY)).toBe(200)
    await ensureBootstrapKey('test-admin-key')
  })

  it('is refused on any other, whatever is in its tables', async () => {
    await plant()
    expect(await statusWith(DEVELOPMENT_KEY)).toBe(200)
    await pretend(false)
    expect(await statusWith(DEVELOPMENT_KEY)).toBe(401)
    expect(await statusWith('test-admin-key')).toBe(200)
  })

  it('is made in no other', async () => {
    await sql`delete from api_keys where key_hash = ${digestOf(DEVELOPMENT_KEY)}`
    await pretend(false)
    await expectNoEffect(() => expect(ensureBootstrapKey(DEVELOPMENT_KEY)).rejects.toThrow(/^BOOTSTRAP_API_KEY: /))
  })
})

describe('a bootstrap key', () => {
  it('that has the form of an API key but not its checksum is refused: nobody could come with it', async () => {
    const { key } = newKey()
    const mistyped = key.replace(/.$/, (last) => (last === '0' ? '1' : '0'))
    await expectNoEffect(() => expect(ensureBootstrapKey(mistyped)).rejects.toThrow(/^BOOTSTRAP_API_KEY: /))
  })

  it('that was revoked stays revoked over starts, and another one works', async () => {
    await newApiKey('admin')
    await ensureBootstrapKey('the-first-bootstrap-key')
    const deleteApiKey = await functionNamed('delete-api-key')
    const params = { apiKeyId: '00000000-0000-7000-8000-000000000000' }
    expect((await call(deleteApiKey, { params, key: 'the-first-bootstrap-key' })).status).toBe(204)
    await ensureBootstrapKey('the-first-bootstrap-key')
    expect(await statusWith('the-first-bootstrap-key')).toBe(401)
    // Revoked for good, even if other revoked keys are forgotten.
    await sql`update revoked_api_keys set revoked_at = now() - interval '10 years'`
    const apiKeyId = await idOf(await newApiKey('products:read'))
    await ensureBootstrapKey('the-second-bootstrap-key')
    expect((await call(deleteApiKey, { params: { apiKeyId }, key: 'the-second-bootstrap-key' })).status).toBe(204)
    await ensureBootstrapKey('the-first-bootstrap-key')
    expect(await statusWith('the-first-bootstrap-key')).toBe(401)
    expect(await statusWith('the-second-bootstrap-key')).toBe(200)
    await ensureBootstrapKey('test-admin-key')
  })
})
