import { afterEach, describe, expect, it } from 'vitest'
import { closeDatabase } from '#database'
import { ensureBootstrapKey } from '#function'
import { call, expectNoEffect, functionNamed, sql } from '#testing'
import { DEVELOPMENT_KEY } from './bootstrap-key.ts'
import { digestOf, forgetKnownKeys } from './identify.ts'

/** Makes the test's database look like one of another server: what it says of itself goes for new connections. */
async function pretend(isEmbedded: boolean): Promise<void> {
  const [{ name } = { name: '' }] = await sql<Array<{ name: string }>>`select current_database() as name`
  await sql.unsafe(`alter database ${name} set stock_management.embedded = '${isEmbedded ? 'on' : 'off'}'`)
  await closeDatabase()
  forgetKnownKeys()
}

const statusWith = async (key: string) => (await call(await functionNamed('list-products'), { key })).status

/** The key as a dump of an embedded database would bring it. */
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
