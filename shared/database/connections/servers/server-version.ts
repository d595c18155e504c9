import { ConfigError } from '#config'
import type { Sql } from '../connect.ts'
import { primary } from '../connections.ts'
import { requireNoHiddenPooler } from '../pool/pooler.ts'

/** The oldest supported major version that has every feature that the schema uses. */
const VERSION_MIN = 15

/** Throws a ConfigError, in one line, for a server that is too old, a database that is not in UTF8, or a pooler that the URL does not mention. */
export async function requireSupportedServer(sql: Sql = primary()): Promise<void> {
  await requireNoHiddenPooler(sql)
  const [server] = await sql<[{ version: string; number: number; encoding: string }]>`
    select current_setting('server_version') as version, current_setting('server_version_num')::int as number,
           current_setting('server_encoding') as encoding`
  if (server.number < VERSION_MIN * 10_000) {
    throw new ConfigError(
      `DATABASE_URL: is PostgreSQL ${server.version}; this service needs PostgreSQL ${VERSION_MIN} or newer`,
    )
  }
  if (server.encoding !== 'UTF8') {
    throw new ConfigError(
      `DATABASE_URL: the database's encoding is ${server.encoding}; this service needs UTF8 (create database … encoding 'UTF8' template template0)`,
    )
  }
}
