import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { cached, closeCache } from '#cache'
import { overrideEnvironment } from '#config'
import {
  closeDatabase,
  parseToken,
  type RequestContext,
  read,
  responseState,
  type Sql,
  systemContext,
  transaction,
} from '#database'
import { PostgresServer } from '../../../infra/local/postgres/postgres-server.ts'
import { findPrograms } from '../../../infra/local/postgres/programs.ts'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import { type Pair, startPair, urlOfBoth } from './replica-fixture.ts'

// A replica with its own replica is promoted, and that one follows it onto the new timeline. Tests whether earlier tokens are still valid then.

let pair: Pair
let follower: PostgresServer
const stopping = new AbortController()

/** Starts a standby that follows the pair's replica. It is a copy of the running primary. */
async function startFollower({ dataDir, primaryUrl, replicaUrl }: Pair): Promise<PostgresServer> {
  const programs = await findPrograms(dataDir)
  const folder = join(dataDir, 'follower')
  // https://www.postgresql.org/docs/18/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP
  const label = await withConnection(primaryUrl, async (sql) => {
    await sql`select pg_backup_start('follower', fast => true)`
    await programs.run('cp', ['-a', join(dataDir, 'primary'), folder])
    const [row] = await sql<
      [{ label: string }]
    >`select labelfile as label from pg_backup_stop(wait_for_archive => false)`
    return row.label
  })
  await writeFile(join(folder, 'backup_label'), label)
  await writeFile(join(folder, 'standby.signal'), '')
  await rm(join(folder, 'postmaster.pid'))
  await rm(join(folder, 'pg_replslot/replica'), { recursive: true })
  await programs.own(folder)
  const server = new PostgresServer({
    role: 'replica',
    programs,
    folder,
    logFile: join(dataDir, 'follower.log'),
    password: decodeURIComponent(new URL(primaryUrl).password),
    port: undefined,
    settings: () => ({
      fsync: 'off',
      max_connections: '200',
      wal_retrieve_retry_interval: '100ms',
      primary_conninfo: `host=127.0.0.1 port=${new URL(replicaUrl).port} user=postgres passfile=pgpass`,
    }),
    progress: () => {},
    signal: stopping.signal,
  })
  await server.start()
  return server
}

const contextWith = (token?: string): RequestContext => ({
  ...systemContext('function:test'),
  response: responseState(token),
})
const timelineOf = ({ response: { consistencyToken: token } }: RequestContext) => parseToken(token ?? '').timeline
const rename = (context: RequestContext, name: string) =>
  transaction(context, async (tx) => tx`update locations set name = ${name}`)

async function nameAndServer(sql: Sql): Promise<{ name: string; isReplica: boolean }> {
  const [row] = await sql<[{ name: string; isReplica: boolean }]>`
    select name, pg_is_in_recovery() as "isReplica" from locations where code = 'main'`
  return row
}

beforeAll(async () => {
  pair = await startPair()
  follower = await startFollower(pair)
  overrideEnvironment({
    DATABASE_URL: urlOfBoth(pair.primaryUrl, pair.replicaUrl),
    // The first of them is promoted: reads move to the other.
    DATABASE_REPLICA_URL: urlOfBoth(pair.replicaUrl, follower.url('stock')),
    CACHE_URL: 'memory:',
  })
  await closeDatabase()
  await closeCache()
}, 120_000)

afterAll(async () => {
  await closeCache()
  overrideEnvironment({ CACHE_URL: undefined })
  await closeDatabase()
  stopping.abort()
  await follower?.stop()
  await pair?.stop()
})

describe('a token from before a fail-over', () => {
  let old: string | undefined

  beforeAll(async () => {
    const writer = contextWith()
    await rename(writer, 'before')
    await vi.waitFor(
      async () => expect(await read(writer, nameAndServer)).toEqual({ name: 'before', isReplica: true }),
      {
        timeout: 10_000,
      },
    )
    old = writer.response.consistencyToken
    expect(timelineOf(writer)).toBe(1)
    pair.signalPrimary('SIGKILL')
    await pair.onReplica((sql) => sql`select pg_promote()`)
    const after = contextWith()
    const patiently = { timeout: 20_000, interval: 50 }
    await vi.waitFor(() => rename(after, 'after'), patiently)
    await vi.waitFor(
      async () =>
        expect(await read(contextWith(after.response.consistencyToken), nameAndServer)).toMatchObject({
          isReplica: true,
        }),
      patiently,
    )
  }, 60_000)

  it('is answered by the promoted server, and renewed, so that the next read is the replica’s', async () => {
    const context = contextWith(old)
    expect(await read(context, nameAndServer)).toEqual({ name: 'after', isReplica: false })
    expect(timelineOf(context)).toBe(2)
    await vi.waitFor(async () => expect(await read(context, nameAndServer)).toEqual({ name: 'after', isReplica: true }))
  })

  it('is renewed by a read through the cache too, so that the next one is the cache’s', async () => {
    const place = { name: 'test', key: 'main', group: 'test', freshMs: 60_000 }
    const query = vi.fn(nameAndServer)
    const context = contextWith(old)
    expect(await cached(place, context, query)).toEqual({ name: 'after', isReplica: false })
    expect(timelineOf(context)).toBe(2)
    expect(await cached(place, context, query)).toEqual({ name: 'after', isReplica: false })
    expect(query).toHaveBeenCalledTimes(1)
  })
})
