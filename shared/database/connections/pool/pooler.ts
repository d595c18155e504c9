import { ConfigError } from '#config'
import type { Sql } from '../connect.ts'
import { needed, probe } from '../driver/session.ts'
import { databaseSettings, isPooled } from '../settings.ts'

const INSTEAD = 'add pgbouncer=true to it, or name the server itself'

/**
 * Throws a ConfigError, in one line, if a pooler stands before the server and DATABASE_URL does not say so: a pooler refuses or drops a
 * connection's settings, and runs statements on connections where they are not prepared. Also throws if DATABASE_URL names a pooler and the role's
 * settings are not those that this service needs.
 */
export async function requireNoHiddenPooler(sql: Sql): Promise<void> {
  const names = [probe.name, ...Object.keys(needed)].map((name) => `('${name}')`)
  const rows = await sql
    // Without parameters, so that no statement is prepared.
    .unsafe<Setting[]>(`select name, current_setting(name) as value from (values ${names.join()}) as setting (name)`)
    .catch((error) => {
      // PgBouncer's message.
      if (!String(error).includes('unsupported startup parameter')) throw error
      throw new ConfigError(`DATABASE_URL: leads to a pooler that refuses settings: ${INSTEAD}`)
    })
  const values = new Map(rows.map(({ name, value }) => [name, value]))
  if (!isPooled(databaseSettings().DATABASE_URL)) {
    if (values.get(probe.name) === probe.value) return
    throw new ConfigError(`DATABASE_URL: leads to a pooler that drops settings: ${INSTEAD}`)
  }
  const wrong = Object.entries(needed).filter(([name, value]) => values.get(name) !== value)
  if (wrong.length === 0) return
  const settings = wrong.map(([name, value]) => `set ${name} = '${value}'`)
  throw new ConfigError(
    `DATABASE_URL: a pooler passes no settings on, so its role needs them: alter role … ${settings.join(', ')}`,
  )
}

interface Setting {
  name: string
  value: string
}
