import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, primary, read, type Sql, systemCaller, transaction } from '#database'
import { openProxy, sql, type TcpProxy } from '#testing'

// The replica of these tests is another database on the same server: it shows which of the two has answered.
let home = ''
let other = ''
let proxy: TcpProxy

const whoAnswers = async (database: Sql) => (await database<[{ name: string }]>`select name from locations`)[0].name
const callerWith = (token?: string) => ({ ...systemCaller('function:test'), consistency: { token } })

beforeAll(async () => {
  home = environment().DATABASE_URL as string
  other = `${new URL(home).pathname.slice(1)}_replica`
  await sql`update locations set name = 'primary'`
  await sql.unsafe(`create database ${other} template template_stock`)
  const url = new URL(home)
  url.pathname = `/${other}`
  overrideEnvironment({ DATABASE_URL: url.href })
  await closeDatabase()
  await sql`update locations set name = 'replica'`
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: home })
})

afterAll(async () => {
  await sql.unsafe(`drop database ${other} with (force)`)
})

beforeEach(async () => {
  proxy = await openProxy(home)
  const url = new URL(proxy.url)
  url.pathname = `/${other}`
  overrideEnvironment({ DATABASE_REPLICA_URL: url.href })
  await closeDatabase()
})

afterEach(async () => {
  vi.useRealTimers()
  await proxy.close()
  await closeDatabase()
  overrideEnvironment({ DATABASE_REPLICA_URL: undefined })
})

describe('read', () => {
  it('is answered by the replica where the caller has written nothing', async () => {
    expect(await read(callerWith(), whoAnswers)).toBe('replica')
  })

  it('is answered by the primary where the replica has not what the caller wrote: it is no standby of this timeline', async () => {
    const caller = callerWith()
    await transaction(caller, async (tx) => tx`select 1`)
    expect(await read(caller, whoAnswers)).toBe('primary')
    expect(await read(callerWith('7-0/1'), whoAnswers)).toBe('primary')
  })

  it('asks the primary for what the replica does not have', async () => {
    expect(await read(callerWith(), whoAnswers, (name) => name === 'replica')).toBe('primary')
    expect(await read(callerWith(), whoAnswers, (name) => name === 'primary')).toBe('replica')
  })

  it('refuses a token that is none, before it asks anyone', async () => {
    const query = vi.fn(whoAnswers)
    await expect(read(callerWith('junk'), query)).rejects.toMatchObject({ code: 'validation_failed' })
    expect(query).not.toHaveBeenCalled()
  })

  it('gives a fault of the query as it is, from the replica too', async () => {
    const failing = read(callerWith(), (database) => database`select 1 / 0`)
    await expect(failing).rejects.toMatchObject({ code: 'validation_failed' })
    await expect(read(callerWith(), (database) => database`select nonsense`)).rejects.toThrow('nonsense')
  })

  it('is answered by the primary while the replica is down, and by the replica again after a rest', async () => {
    proxy.refuse(1)
    expect(await read(callerWith(), whoAnswers)).toBe('primary')
    expect(await read(callerWith(), whoAnswers)).toBe('primary')
    vi.setSystemTime(Date.now() + 4_000)
    expect(await read(callerWith(), whoAnswers)).toBe('replica')
  })

  it('is answered by the primary where the replica has gone silent', async () => {
    vi.setSystemTime(Date.now() + 8_000)
    expect(await read(callerWith(), whoAnswers)).toBe('replica')
    await primary()`select 1`
    proxy.freeze()
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const answer = read(callerWith(), whoAnswers)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(await answer).toBe('primary')
  })

  it('is refused as unavailable while no server answers', async () => {
    const url = new URL(home)
    url.port = '1'
    overrideEnvironment({ DATABASE_URL: url.href, DATABASE_REPLICA_URL: undefined })
    await closeDatabase()
    await expect(read(callerWith(), whoAnswers)).rejects.toMatchObject({ code: 'unavailable', retryAfterSeconds: 1 })
    overrideEnvironment({ DATABASE_URL: home })
  })
})
