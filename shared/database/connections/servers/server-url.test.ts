import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, primary, read, systemContext, transaction } from '#database'
import { sql } from '#testing'
import { parseServerUrl } from './server-url.ts'

describe('a URL of a server', () => {
  it.each([
    [
      'postgres://u:p@one:5433/stock',
      { host: 'one', port: 5433, user: 'u', password: 'p', database: 'stock', tls: false },
    ],
    ['postgresql://u@one/stock', { host: 'one', port: 5432, password: '' }],
    ['postgres://u:p@[::1]:5433/stock', { host: '::1', port: 5433 }],
    ['postgres://u:p@[fe80::1%25lo]/stock', { host: 'fe80::1%lo', port: 5432 }],
    [
      'postgres://u%40shop:p%40%3A%2F%25%23%3F@one/st%C3%B6ck',
      { user: 'u@shop', password: 'p@:/%#?', database: 'stöck' },
    ],
    ['postgres://u@%2Frun%2Fpostgresql/stock', { host: '/run/postgresql', port: 5432 }],
    ['postgres:///stock?host=/run/postgresql&port=5433&user=u', { host: '/run/postgresql', port: 5433, user: 'u' }],
    ['postgres://u@one?dbname=stock', { database: 'stock' }],
    ['postgres://u@one/stock?sslmode=disable', { tls: false }],
    ['postgres://u@one/stock?sslmode=prefer', { tls: 'prefer' }],
    ['postgres://u@one/stock?sslmode=require', { tls: { rejectUnauthorized: false } }],
    ['postgres://u@one/stock?sslmode=verify-full', { tls: { rejectUnauthorized: true, host: 'one' } }],
    ['postgres://u@one/stock?sslrootcert=system', { tls: { rejectUnauthorized: true, host: 'one' } }],
    ['postgres://u@one/stock?sslmode=verify-full&channel_binding=require', { ignored: ['channel_binding'] }],
    ['postgres://u@one/stock?schema=shop', { schema: 'shop', isPooled: false }],
    ['postgres://u@one/stock?pgbouncer=true&connection_limit=1', { isPooled: true, ignored: ['connection_limit'] }],
    [
      'postgres://u@one/stock?application_name=shop&connect_timeout=3',
      { applicationName: 'shop', ignored: ['connect_timeout'] },
    ],
    ['postgres://u@one/stock?options=-c%20geqo%3Doff', { options: '-c geqo=off' }],
  ])('is understood: %s', (url, server) => {
    expect(parseServerUrl(url)).toMatchObject(server)
  })

  it('verifies with the certificate that it names, which has to be there', async () => {
    const file = join(tmpdir(), `stock-root-${process.pid}.pem`)
    await writeFile(file, 'a certificate')
    const tls = { rejectUnauthorized: true, ca: Buffer.from('a certificate') }
    for (const mode of ['require', 'verify-ca', 'verify-full'])
      expect(parseServerUrl(`postgres://u@one/stock?sslmode=${mode}&sslrootcert=${file}`)).toMatchObject({ tls })
  })

  it.each([
    ['postgres://u@one/stock?sslmod=require', 'unknown here: sslmod'],
    ['postgres://u@one/stock?statement_timeout=0', 'unknown here: statement_timeout'],
    ['postgres://u@one/stock?sslmode=on', 'as its sslmode'],
    ['postgres://u@one/stock?sslmode=disable&sslrootcert=system', 'must have an sslmode'],
    ['postgres://u@one/stock?sslmode=verify-full&sslrootcert=/nowhere.pem', 'as its sslrootcert: ENOENT'],
    [
      'postgres://u@one/stock?sslmode=require&channel_binding=require',
      'sslmode=verify-full instead of channel_binding',
    ],
    ['postgres://u@one/stock?pgbouncer=yes', 'pgbouncer=true or pgbouncer=false'],
    ['postgres://u@one/stock?pgbouncer=true&schema=shop', 'which PgBouncer does not pass on'],
    ['postgres://u@one', 'names its database'],
    ['postgres://u:100%@one/stock', 'written %25'],
    ['postgres://u@one:70000/stock', 'port below 65536'],
    ['postgres://u@/stock', 'must be a postgres:// URL'],
    ['postgres:///stock?host=one,two', 'must be a postgres:// URL'],
  ])('is refused with what it must be: %s', (url, message) => {
    expect(() => parseServerUrl(url)).toThrow(message)
  })
})

describe('a connection', () => {
  const { DATABASE_URL: home = '' } = environment()
  const connectTo = async (url: string) => {
    await closeDatabase()
    overrideEnvironment({ DATABASE_URL: url })
  }
  afterEach(async () => {
    vi.unstubAllEnvs()
    await connectTo(home)
  })

  it('takes a password of any characters', async () => {
    const password = 'p@ss:w/o%rd#?'
    await sql.unsafe(`create role odd login password '${password}'`)
    const url = new URL(home)
    await connectTo(home.replace(`${url.username}:${url.password}`, `odd:${encodeURIComponent(password)}`))
    expect(await primary()`select current_user as name`).toEqual([{ name: 'odd' }])
    await connectTo(home)
    await sql.unsafe('drop role odd')
  })

  it('is what the URL says, whatever PG* variables there are', async () => {
    await connectTo(home)
    const others = {
      HOST: 'nowhere',
      PORT: '1',
      DATABASE: 'other',
      USER: 'other',
      PASSWORD: 'other',
      OPTIONS: '-c x=y',
    }
    const drivers = { SSL: 'require', MAX: '0', PREPARE: 'x', TARGETSESSIONATTRS: 'nonsense', APPNAME: 'other' }
    for (const [name, value] of Object.entries({ ...others, ...drivers })) vi.stubEnv(`PG${name}`, value)
    const [row] = await primary()`select current_database() as name, current_setting('application_name') as app`
    expect(row).toEqual({ name: new URL(home).pathname.slice(1), app: 'stock-management' })
    expect(environment().PGTARGETSESSIONATTRS).toBe('nonsense')
  })

  it('finds its tables in the schema that the URL names, and has the options that it gives', async () => {
    await sql.unsafe('create schema shop; create table shop.only_here as select 7 as n')
    await connectTo(`${home}?schema=shop&options=-c%20geqo%3Doff`)
    expect(await primary()`select n, current_setting('geqo') as geqo from only_here`).toEqual([{ n: 7, geqo: 'off' }])
  })

  it('does without TLS where that is enough, and not where it is not', async () => {
    await connectTo(`${home}?sslmode=prefer`)
    expect(await primary()`select 1 as n`).toEqual([{ n: 1 }])
  })

  it.each([
    ['wants TLS, which the server has not', () => `${home}?sslmode=require`],
    ['comes with a wrong password', () => home.replace(new URL(home).password, 'wrong')],
    ['comes as nobody', () => home.replace(`//${new URL(home).username}:`, '//nobody:')],
    ['leads to a database that is not there', () => home.replace(/[^/]+$/, 'nowhere')],
    ['leads to a socket that is not there', () => 'postgres://u@%2Fnowhere/stock'],
    ['leads to a name that is not there', () => 'postgres://u@nowhere.invalid/stock'],
    ['leads to an address of version 6 where nobody listens', () => 'postgres://u@[::1]:1/stock'],
  ])('that %s is unavailable, and no defect', async (_, url) => {
    await connectTo(url())
    const reading = read(systemContext('function:test'), (tx) => tx`select 1`)
    await expect(reading).rejects.toMatchObject({ code: 'unavailable' })
    const writing = transaction(systemContext('function:test'), (tx) => tx`select 1`)
    await expect(writing).rejects.toMatchObject({ code: 'unavailable' })
  })
})
