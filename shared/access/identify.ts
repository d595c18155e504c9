import { LRUCache } from 'lru-cache'
import { readKey, requireAskedFor, type Scope, type Sql } from '#database'
import { countSecurityEvent } from '#telemetry'
import { DEVELOPMENT_KEY } from './bootstrap-key.ts'
import { createFairSemaphore } from './fair-semaphore.ts'
import { digestOf, hasBadChecksum } from './key-format.ts'

export interface Identity {
  apiKeyId: string
  scopes: readonly Scope[]
}

interface KnownKey extends Identity {
  /** In milliseconds of the epoch. */
  expiresAt: number
}

/** A revoked key is refused everywhere within 5 s: this cache's 1.5 s, a replica's lag of 2 s, and 1.5 s until the lag is noticed. */
const known = new LRUCache<string, KnownKey>({ max: 10_000, ttl: 1_500 })

/** Keys that were valid in the last ten minutes. */
const recentlyValid = new LRUCache<string, true>({ max: 10_000, ttl: 600_000 })

/** Keys that were just found to be invalid, with the id of a revoked one: a client that repeats an invalid key costs the database little. */
const refused = new LRUCache<string, { revokedId?: string }>({ max: 10_000, ttl: 1_500 })

/**
 * Bounds the look-ups of keys that were not valid recently: each is one look into an index, and all share a few connections. A recently valid key
 * bypasses this bound, and origins take turns, so a flood of invalid keys costs other clients a wait of milliseconds and no refusal. One origin may
 * have as many look-ups waiting as a function serves requests, and more.
 */
const inTurn = createFairSemaphore({ concurrencyMax: 16, waitingMax: 4_000, waitingPerOriginMax: 1_000 })

/** Makes every key be looked up again, because a key has been created, revoked or replaced. */
export function forgetKnownKeys(): void {
  known.clear()
  refused.clear()
}

/**
 * The identity that `key` proves; undefined for a key that is unknown, revoked or expired. `originOf` returns the request's source. If the key is
 * in this process's cache, as nearly every key is, the answer is not a promise.
 */
export function identify(key: string, originOf: () => string): Identity | undefined | Promise<Identity | undefined> {
  const identity = known.get(key)
  if (identity) return unlessExpired(identity)
  if (hasBadChecksum(key)) return undefined
  return lookUp(key, originOf()).then((found) => found && unlessExpired(found))
}

function unlessExpired(identity: KnownKey): Identity | undefined {
  return identity.expiresAt > Date.now() ? identity : undefined
}

/** Look-ups in flight: requests with the same key share one. */
const lookUps = new Map<string, Promise<KnownKey | undefined>>()

async function lookUp(key: string, origin: string): Promise<KnownKey | undefined> {
  let inFlight = lookUps.get(key)
  if (!inFlight && !refused.has(key)) {
    inFlight = findKnown(key, origin).finally(() => lookUps.delete(key))
    lookUps.set(key, inFlight)
  }
  const identity = await inFlight
  const revokedId = identity ? undefined : refused.get(key)?.revokedId
  if (revokedId) countSecurityEvent('api_key_used_after_revocation', { api_key_id: revokedId, origin })
  return identity
}

async function findKnown(key: string, origin: string): Promise<KnownKey | undefined> {
  const row = await (recentlyValid.has(key) ? findRow(key) : inTurn(origin, () => findRow(key)))
  if (!row || row.isRevoked) {
    recentlyValid.delete(key)
    refused.set(key, row ? { revokedId: row.id } : {})
    return undefined
  }
  recentlyValid.set(key, true)
  const expiresAt = row.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY
  const identity = { apiKeyId: row.id, scopes: row.scopes, expiresAt }
  known.set(key, identity)
  return identity
}

interface Row {
  id: string
  scopes: Scope[]
  expiresAt: Date | null
  isRevoked: boolean
}

type LookUpRow = { asked: Buffer | undefined } & (Row | { id: null })

function isFound(row: LookUpRow | undefined): row is LookUpRow & Row {
  return row?.id != null
}

/** Asks the replica first, so that look-ups work while the primary is away. Asks the primary for a key that the replica lacks: it may be new. */
function findRow(key: string): Promise<Row | undefined> {
  const digest = digestOf(key)
  const find = async (sql: Sql) => {
    // The row repeats the requested digest, because an answer that a key does not exist must be as certain as one that it does.
    const [row] = await sql<[LookUpRow?]>`
      select ${digest}::bytea as asked, found.* from (select) as one left join (
        select id, scopes, expires_at as "expiresAt", false as "isRevoked" from api_keys
        where key_hash = ${digest} and ${key === DEVELOPMENT_KEY ? isEmbedded(sql) : sql`true`}
        union all
        select api_key_id, '{}', null, true from revoked_api_keys where key_hash = ${digest}
      ) as found on true`
    requireAskedFor(row?.asked?.equals(digest) === true, 'API key')
    return isFound(row) ? row : undefined
  }
  return readKey(find, (row) => row === undefined)
}

/**
 * Whether the server is the embedded one, by a setting on its command line. No dump or copy of its data has that setting, so no other database
 * accepts the development key, whatever its tables contain.
 */
export function isEmbedded(sql: Sql) {
  return sql`coalesce(current_setting('stock_management.embedded', true), '') = 'on'`
}
