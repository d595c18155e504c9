import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { readSettings } from './settings.ts'

test('nothing set means a loopback address, the development key and a stack of its own', () => {
  expect(readSettings({ PORT: '' })).toEqual({
    port: 3000,
    host: '127.0.0.1',
    dataDir: resolve('.local'),
    seed: true,
    bootstrapApiKey: 'dev-admin-key',
    databaseUrl: undefined,
    databaseReplicaUrl: undefined,
    allowedHosts: [],
    logLevel: 'info',
    metricsPort: 0,
  })
})

test('hosts are a list with commas', () => {
  expect(readSettings({ ALLOWED_HOSTS: 'shop.example, [fe80::1]' }).allowedHosts).toEqual(['shop.example', '[fe80::1]'])
  expect(() => readSettings({ ALLOWED_HOSTS: 'a b' })).toThrow('ALLOWED_HOSTS must be names or addresses')
})

test.each(['127.0.0.1', '127.8.9.10', '::1', 'localhost'])('the development key is good for %s', (HOST) => {
  expect(readSettings({ HOST }).bootstrapApiKey).toBe('dev-admin-key')
})

test.each(['0.0.0.0', '::', '192.168.0.7', '127.0.0.1.example.org', 'localhost.example.org'])(
  'the development key is refused on %s',
  (HOST) => {
    expect(() => readSettings({ HOST })).toThrow('BOOTSTRAP_API_KEY must be a secret of your own')
    expect(() => readSettings({ HOST, BOOTSTRAP_API_KEY: 'dev-admin-key' })).toThrow('BOOTSTRAP_API_KEY')
    expect(readSettings({ HOST, BOOTSTRAP_API_KEY: 'a-secret' }).bootstrapApiKey).toBe('a-secret')
  },
)

const OWN = 'an-admin-key-of-my-own'
const DATABASE_URL = 'postgres://somebody@db.example.org/stock'

test.each([undefined, '', 'dev-admin-key', 'fifteen-chars--', 'with a space in the middle', `${OWN}ü`])(
  'with a database of one’s own the key %j is refused in one line',
  (BOOTSTRAP_API_KEY) => {
    for (const HOST of [undefined, '0.0.0.0']) {
      expect(() => readSettings({ DATABASE_URL, BOOTSTRAP_API_KEY, HOST })).toThrow(/^BOOTSTRAP_API_KEY must [^\n]+$/)
    }
  },
)

test('with a database of one’s own a long key is taken, and none where none is used', () => {
  expect(readSettings({ DATABASE_URL, BOOTSTRAP_API_KEY: OWN }).bootstrapApiKey).toBe(OWN)
  expect(readSettings({ DATABASE_URL }, { usesKey: false }).databaseUrl).toBe(DATABASE_URL)
})

test('every bad value is named, in a line of its own', () => {
  const read = () =>
    readSettings({ PORT: '70000', SEED: 'yes', DATABASE_URL: 'mysql://x', HOST: '0.0.0.0', BOOTSTRAP_API_KEY: OWN })
  expect(read).toThrow(
    [
      'PORT must be a whole number from 0 to 65535',
      'SEED must be 0 or 1',
      'DATABASE_URL must be a postgres:// URL',
    ].join('\n'),
  )
  const keyless = () => readSettings({ PORT: 'http', HOST: '0.0.0.0' })
  expect(keyless).toThrow(
    'BOOTSTRAP_API_KEY must be a secret of your own when HOST (0.0.0.0) is not a loopback address',
  )
  expect(() => readSettings({ PORT: 'http' })).toThrow('PORT must be a whole number')
  expect(() => readSettings({ DATABASE_REPLICA_URL: 'postgres://x/y' })).toThrow('needs DATABASE_URL too')
})
