import * as z from 'zod'
import { ConfigError } from '#config'
import {
  type Page,
  type PageRequest,
  primary,
  type RequestContext,
  read,
  readPage,
  type Scope,
  type Sql,
  scopes,
  transaction,
} from '#database'
import { invalid, notFound, ServiceError } from '#errors'
import { newId } from '#ids'
import { lineOfText } from '#input'
import { logger, securityEvent } from '#telemetry'
import { DEVELOPMENT_KEY } from './bootstrap-key.ts'
import { forgetKnownKeys, isEmbedded } from './identify.ts'
import { digestOf, hasBadChecksum, newKey } from './key-format.ts'

export const ApiKey = z
  .object({
    id: z.uuid(),
    name: z.string(),
    scopes: z.array(z.enum(scopes)),
    prefix: z.string().describe('The first characters of the key, to tell keys apart.'),
    expiresAt: z.iso.datetime().nullable(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'ApiKey' })
export type ApiKey = z.infer<typeof ApiKey>

export const CreateApiKeyRequest = z.strictObject({
  name: lineOfText(200).trim().min(1),
  scopes: z.array(z.enum(scopes)).min(1).max(scopes.length),
  expiresAt: z.iso.datetime({ offset: true }).nullish(),
})

interface ApiKeyRow {
  id: string
  name: string
  scopes: Scope[]
  prefix: string
  expiresAt: Date | null
  createdAt: Date
}

function columns(sql: Sql) {
  return sql`id, name, scopes, prefix, expires_at as "expiresAt", created_at as "createdAt"`
}

/** Creates a key. Only the first answer contains `key`: a repeat under the same idempotency key lacks it, since only a hash is stored. */
export async function createApiKey(
  request: z.infer<typeof CreateApiKeyRequest>,
  context: RequestContext,
): Promise<ApiKey & { key?: string }> {
  const expiresAt = request.expiresAt ? new Date(request.expiresAt) : null
  if (expiresAt && expiresAt.getTime() <= Date.now()) throw invalid('expiresAt', 'must lie in the future')
  const { key, prefix } = newKey()
  const apiKey = await transaction(context, async (tx) => {
    const [row] = await tx<[ApiKeyRow]>`
      insert into api_keys (id, name, scopes, prefix, key_hash, expires_at)
      values (${newId()}, ${request.name}, ${[...new Set(request.scopes)]}, ${prefix}, ${digestOf(key)}, ${expiresAt})
      returning ${columns(tx)}`
    return toApiKey(row)
  })
  if (context.response.replayedFrom) return apiKey
  securityEvent('api_key_made', { actor: context.actor, api_key_id: apiKey.id, scopes: apiKey.scopes.join(' ') })
  return { ...apiKey, key }
}

export function listApiKeys(page: PageRequest, context: RequestContext): Promise<Page<ApiKey>> {
  return readPage(page, context, {
    kind: 'api-keys',
    keys: z.tuple([z.uuid()]),
    fetch: (after, limit) =>
      read(
        context,
        (sql) => sql<ApiKeyRow[]>`
          select ${columns(sql)} from api_keys
          where ${after ? sql`id < ${after[0]}` : sql`true`}
          order by id desc limit ${limit}`,
      ),
    keysOf: (row): [string] => [row.id],
    toItem: toApiKey,
  })
}

/** How long the use of a revoked key is reported. A revoked bootstrap key is kept for ever, so that a restart does not restore it. */
const REVOKED_KEPT_DAYS = 90

/** Revokes a key. Throws `api_key_not_found`, or `last_admin_key` if no other key without an expiry could administer the service. */
export async function deleteApiKey(id: string, context: RequestContext): Promise<void> {
  await transaction(context, async (tx) => {
    // Two admins that revoke each other's keys at once must not both succeed.
    await tx`lock table api_keys in share row exclusive mode`
    const [row] = await tx<[{ isAdmin: boolean }?]>`
      select 'admin' = any(scopes) and (expires_at is null or expires_at > now()) as "isAdmin" from api_keys where id = ${id}`
    if (!row) throw notFound('API key', id)
    // A key that expires does not count, however late: on that day no admin key would be left.
    const [other] = await tx`
      select 1 from api_keys where id <> ${id} and 'admin' = any(scopes) and expires_at is null limit 1`
    if (row.isAdmin && !other) {
      const detail = 'This is the last admin key, but for any that expire. Make another one first, without expiresAt.'
      throw new ServiceError('last_admin_key', detail)
    }
    await tx`
      with gone as (delete from api_keys where id = ${id} returning id, key_hash)
      insert into revoked_api_keys (key_hash, api_key_id, revoked_by) select key_hash, id, ${context.actor} from gone`
    await tx`
      delete from revoked_api_keys
      where revoked_at < now() - ${REVOKED_KEPT_DAYS}::int * interval '1 day' and api_key_id <> ${BOOTSTRAP_ID}`
  })
  forgetKnownKeys()
  securityEvent('api_key_revoked', { actor: context.actor, api_key_id: id })
}

const BOOTSTRAP_ID = '00000000-0000-7000-8000-000000000000'

/**
 * Makes `key` the only bootstrap admin key; an earlier bootstrap key with another value stops working. A revoked key stays revoked. Throws a
 * ConfigError.
 */
export async function ensureBootstrapKey(key: string): Promise<void> {
  if (key === DEVELOPMENT_KEY) await requireEmbedded()
  if (hasBadChecksum(key)) {
    throw new ConfigError('BOOTSTRAP_API_KEY: has the form of an API key, but not its checksum: a character is wrong')
  }
  const digest = digestOf(key)
  const { count } = await primary()`
    insert into api_keys (id, name, scopes, prefix, key_hash)
    select ${BOOTSTRAP_ID}, 'bootstrap', array['admin'], ${key.slice(0, 3)}, ${digest}
    where not exists (select from revoked_api_keys where key_hash = ${digest})
    on conflict (id) do update set key_hash = excluded.key_hash, prefix = excluded.prefix`
  if (count === 0) logger().warn('BOOTSTRAP_API_KEY was revoked, and stays so: set another one')
  forgetKnownKeys()
}

async function requireEmbedded(): Promise<void> {
  const [{ embedded }] = await primary()<[{ embedded: boolean }]>`select ${isEmbedded(primary())} as embedded`
  if (!embedded) throw new ConfigError(`BOOTSTRAP_API_KEY: ${DEVELOPMENT_KEY} is for the embedded database alone`)
}

function toApiKey({ id, name, scopes: granted, prefix, expiresAt, createdAt }: ApiKeyRow): ApiKey {
  return {
    id,
    name,
    scopes: granted,
    prefix,
    expiresAt: expiresAt?.toISOString() ?? null,
    createdAt: createdAt.toISOString(),
  }
}
