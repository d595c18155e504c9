import { LRUCache } from 'lru-cache'
import { readKey, requireAskedFor, type Scope, type Sql } from '#database'
import { countSecurityEvent } from '#telemetry'
import { DEVELOPMENT_KEY } from './bootstrap-key.ts'
import { digestOf, hasBadChecksum } from './key-format.ts'
import { createTurns } from './turns.ts'

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

/** Keys that were just found not to be valid, and of those that were revoked, the id: who goes on sending one costs the database little. */
const refused = new LRUCache<string, { revokedId?: string }>({ max: 10_000, ttl: 1_500 })

/**
 * Keys that have not been seen lately are looked for by so many at a time; it is an index's look, and they share connections. Nobody
 * is refused for what others send: a key costs more than a guess does in nothing but a wait, of milliseconds while there is room for all
 * that a function has in flight from one origin.
 */
const inTurn = createTurns({ atOnceMax: 16, waitingMax: 4_000, waitingOfOneMax: 1_000 })

/** Has every key looked for anew: one has been made, revoked or replaced. */
export function forgetKnownKeys(): void {
  known.clear()
  refused.clear()
}

/**
 * Who holds `key`; undefined for a key that is unknown, revoked or expired. `originOf` tells where it came from. Nearly every request
 * comes with a key that is known here, so that is answered at once.
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

/** Looks under way: those who come with the same key meanwhile share one. */
const looks = new Map<string, Promise<KnownKey | undefined>>()

async function lookUp(key: string, origin: string): Promise<KnownKey | undefined> {
  let look = looks.get(key)
  if (!look && !refused.has(key)) {
    look = findKnown(key, origin).finally(() => looks.delete(key))
    looks.set(key, look)
  }
  const identity = await look
  const revokedId = identity ? undefined : refused.get(key)?.revokedId
  if (revokedId) countSecurityEvent('api_key_used_after_revocation', { api_key_id: revokedId, origin })
  return identity
}

async function findKnown(key: string, origin: string): Promise<KnownKey | undefined> {
  const row = await (valid.has(key) ? findRow(key) : inTurn(origin, () => findRow(key)))
  if (!row || row.isRevoked) {
    valid.delete(key)
    refused.set(key, row ? { revokedId: row.id } : {})
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
  isRevoked: boolean
}

type Answer = { asked: Buffer | undefined } & (Row | { id: null })

function isFound(answer: Answer | undefined): answer is Answer & Row {
  return answer?.id != null
}

/** On the replica first, so that reads outlive the primary; a key it does not have may be new, so the primary is asked too. */
function findRow(key: string): Promise<Row | undefined> {
  const digest = digestOf(key)
  const find = async (sql: Sql) => {
    // With the question in the answer: that there is no such key is no less to be sure of.
    const [row] = await sql<[Answer?]>`
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
 * Whether the server is the embedded one: it says so itself, by a setting of its command line, which goes into no dump and no copy of
 * its data. So whatever is in its tables, no other database takes the development key.
 */
export function isEmbedded(sql: Sql) {
  return sql`coalesce(current_setting('stock_management.embedded', true), '') = 'on'`
}
