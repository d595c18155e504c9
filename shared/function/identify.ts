import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { read, type Scope, type Sql, systemCaller } from '#database'
import { DEVELOPMENT_KEY } from './bootstrap-key.ts'
import type { Gate } from './rate-limit.ts'

export interface Identity {
  apiKeyId: string
  scopes: readonly Scope[]
}

interface KnownKey extends Identity {
  /** In milliseconds of the epoch. */
  expiresAt: number
}

/** A revoked key is refused everywhere within 5 s: this cache's 1.5 s, a replica's lag of 2 s, and the 1.5 s until that is noticed. */
const known = new LRUCache<string, KnownKey>({ max: 10_000, ttl: 1_500 })

/** Keys that were valid not long ago. */
const valid = new LRUCache<string, true>({ max: 10_000, ttl: 600_000 })

/** What is kept of a key. It has 192 random bits, so a slow hash would protect nothing and cost every request. */
export const digestOf = (key: string) => createHash('sha256').update(key).digest()

/** Has every key looked for anew: one has been revoked, or replaced. */
export function forgetKnownKeys(): void {
  known.clear()
}

/**
 * Who holds `key`; undefined for a key that is unknown, revoked or expired. The database is behind `gate`. Nearly every request
 * comes with a key that is known here, so that is answered at once.
 */
export function identify(key: string, gate: Gate): Identity | undefined | Promise<Identity | undefined> {
  const identity = known.get(key)
  return identity ? unlessExpired(identity) : lookUp(key, gate).then((found) => found && unlessExpired(found))
}

function unlessExpired(identity: KnownKey): Identity | undefined {
  return identity.expiresAt > Date.now() ? identity : undefined
}

/** Looks under way: those who come with the same key meanwhile share one, and count as one. */
const looks = new Map<string, Promise<KnownKey | undefined>>()

function lookUp(key: string, gate: Gate): Promise<KnownKey | undefined> {
  const underWay = looks.get(key)
  if (underWay) return underWay
  const look = findKnown(key, gate).finally(() => looks.delete(key))
  looks.set(key, look)
  return look
}

async function findKnown(key: string, gate: Gate): Promise<KnownKey | undefined> {
  // Nobody is locked out by what others guess.
  if (!valid.has(key)) await gate.admit()
  const row = await findRow(key)
  if (!row) {
    valid.delete(key)
    await gate.charge()
    return undefined
  }
  valid.set(key, true)
  const expiresAt = row.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY
  const identity = { apiKeyId: row.id, scopes: row.scopes, expiresAt }
  known.set(key, identity)
  return identity
}

interface Row {
  id: string
  scopes: Scope[]
  expiresAt: Date | null
}

/** On the replica first, so that reads outlive the primary; a key it does not have may be new, so the primary is asked too. */
function findRow(key: string): Promise<Row | undefined> {
  const digest = digestOf(key)
  const find = async (sql: Sql) => {
    const [row] = await sql<Row[]>`
      select id, scopes, expires_at as "expiresAt" from api_keys
      where key_hash = ${digest} and ${key === DEVELOPMENT_KEY ? isEmbedded(sql) : sql`true`}`
    return row
  }
  return read(systemCaller('function:auth'), find, (row) => row === undefined)
}

/**
 * Whether the server is the embedded one: it says so itself, by a setting of its command line, which goes into no dump and no copy of
 * its data. So whatever is in its tables, no other database takes the development key.
 */
export function isEmbedded(sql: Sql) {
  return sql`coalesce(current_setting('stock_management.embedded', true), '') = 'on'`
}
