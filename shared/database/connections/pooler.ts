import { ConfigError } from '#config'
import type { Sql } from './connect.ts'
import { needed, probe } from './session.ts'
import { databaseSettings, isPooled } from './settings.ts'

const INSTEAD = 'add pgbouncer=true to it, or name the server itself'

/**
 * Throws a ConfigError, in one line, where a pooler stands before the server and DATABASE_URL does not say so: it refuses the settings
 * of a connection, or drops them, and statements are sought where they were not prepared. And where one does that is said to be
 * there, for a role whose own settings are not what this service needs.
 */
export async function requireNoHiddenPooler(sql: Sql): Promise<void> {
  const names = [probe.name, ...Object.keys(needed)].map((name) => `('${name}')`)
  const rows = await sql
    // Without parameters it is sent as it is, and nothing is prepared for it.
    .unsafe<Setting[]>(`select name, current_setting(name) as value from (values ${names.join()}) as setting (name)`)
    .catch((error) => {
      // In PgBouncer's own words.
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
