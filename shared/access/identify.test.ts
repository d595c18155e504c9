import { beforeEach, describe, expect, it, vi } from 'vitest'
import { logger, renderMetrics } from '#telemetry'
import { call, functionNamed, newKey as newApiKey, sql } from '#testing'
import { forgetKnownKeys, identify } from './identify.ts'
import { digestOf, hasBadChecksum, newKey } from './key-format.ts'

const listProducts = await functionNamed('list-products')
const origin = () => '192.0.2.1'
const ask = async (key: string, remoteAddress = '192.0.2.1') => {
  const incoming = { headers: { authorization: `Bearer ${key}` }, socket: { remoteAddress } }
  return (await listProducts.app.fetch(new Request('http://localhost/v1/products'), { incoming })).status
}

/** The number of reads of the database so far. */
async function reads(): Promise<number> {
  const counts = (await renderMetrics()).matchAll(/^database_reads_total\{.*\} (\d+)$/gm)
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0)
}

beforeEach(() => vi.restoreAllMocks())

describe('the form of a key', () => {
  it('has a checksum that a wrong character does not get past', () => {
    const { key, prefix } = newKey()
    expect(key).toMatch(/^smk_[0-9a-f]{8}_[\w-]{40}$/)
    expect(key.startsWith(`${prefix}_`)).toBe(true)
    expect(hasBadChecksum(key)).toBe(false)
    for (let at = 13; at < key.length; at++) {
      const other = key[at] === 'a' ? 'b' : 'a'
      expect(hasBadChecksum(`${key.slice(0, at)}${other}${key.slice(at + 1)}`), `at ${at}`).toBe(true)
    }
  })

  it.each(['test-admin-key', 'smk_0123abcd_0123456789abcdefghijklmnopqrstuv', ''])(
    'of %j is not ours, or older',
    (key) => {
      expect(hasBadChecksum(key)).toBe(false)
    },
  )
})

describe('a key', () => {
  it('of the form that keys had before is valid still', async () => {
    const old = 'smk_0123abcd_0123456789abcdefghijklmnopqrstuv'
    await sql`
      insert into api_keys (id, name, scopes, prefix, key_hash)
      values (gen_random_uuid(), 'old', array['products:read'], 'smk_0123abcd', ${digestOf(old)})`
    expect(await ask(old)).toBe(200)
  })

  it('with a wrong checksum is refused without a look into the database', () => {
    const { key } = newKey()
    const guess = `${key.slice(0, -8)}${key.endsWith('00000000') ? '11111111' : '00000000'}`
    // The answer comes at once, which it would not after a look-up.
    expect(identify(guess, origin)).toBeUndefined()
  })

  it('that is not valid is looked for once in a while, however often it comes', async () => {
    const { key } = newKey()
    const before = await reads()
    expect(await identify(key, origin)).toBeUndefined()
    expect(await reads()).toBeGreaterThan(before)
    const after = await reads()
    for (let count = 0; count < 50; count++) expect(await identify(key, origin)).toBeUndefined()
    expect(await reads()).toBe(after)
  })

  it('that was not seen lately is let in while guesses come from its address, well formed ones included', async () => {
    const key = await newApiKey('products:read')
    const guesses = Array.from({ length: 900 }, () => ask(newKey().key))
    const statuses = [await ask(key), await ask(key, '198.51.100.7')]
    expect(statuses).toEqual([200, 200])
    expect(new Set(await Promise.all(guesses))).toEqual(new Set([401]))
    forgetKnownKeys()
    expect(await ask(key)).toBe(200)
  })

  it('that is known finds a slot in a function of few slots while guesses are looked up', async () => {
    const importProducts = await functionNamed('import-products')
    const send = async (key: string) => {
      const headers = { authorization: `Bearer ${key}`, 'content-type': 'text/plain' }
      const request = new Request('http://localhost/v1/products/imports', { method: 'POST', headers, body: 'x' })
      return (await importProducts.app.fetch(request)).status
    }
    expect(await send('test-admin-key')).toBe(415)
    const guesses = Array.from({ length: 100 }, () => send(newKey().key))
    expect(await send('test-admin-key')).toBe(415)
    expect(new Set(await Promise.all(guesses))).toEqual(new Set([401]))
  })

  it('is told of when it is used after it was revoked', async () => {
    const key = await newApiKey('products:read')
    expect(await ask(key)).toBe(200)
    const [{ id } = { id: '' }] = await sql<
      Array<{ id: string }>
    >`select id from api_keys where prefix = ${key.slice(0, 12)}`
    const deleted = await call(await functionNamed('delete-api-key'), { params: { apiKeyId: id } })
    expect(deleted.status).toBe(204)
    const told = vi.spyOn(logger(), 'info')
    expect([await ask(key), await ask(key), await ask(key)]).toEqual([401, 401, 401])
    const uses = told.mock.calls.filter(([entry]) => JSON.stringify(entry).includes('after_revocation'))
    expect(uses).toEqual([
      [{ security: 'api_key_used_after_revocation', api_key_id: id, origin: '192.0.2.1' }, expect.any(String)],
    ])
  })
})
