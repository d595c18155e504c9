import * as z from 'zod'
import { ConfigError, readConfig } from '#config'
import { type Sql, systemContext, transaction } from '#database'

const roleSetting = z
  .string()
  .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'must be the name of a role: small letters, digits and _')
  .optional()

const settingsSchema = z.object({
  /** The role of the functions, and the role of those that make and revoke API keys. Set both or neither. */
  DATABASE_RUN_ROLE: roleSetting,
  DATABASE_KEYS_ROLE: roleSetting,
})

interface Roles {
  run: string
  keys: string
}

/** The roles to grant rights to, if any are named. Throws a ConfigError. */
export function runningRoles(): Roles | undefined {
  const { DATABASE_RUN_ROLE: run, DATABASE_KEYS_ROLE: keys } = readConfig(settingsSchema)
  if (!run && !keys) return undefined
  if (!run) throw new ConfigError('DATABASE_RUN_ROLE: must be set too where DATABASE_KEYS_ROLE is')
  if (!keys) throw new ConfigError('DATABASE_KEYS_ROLE: must be set too where DATABASE_RUN_ROLE is')
  if (run === keys) throw new ConfigError('DATABASE_KEYS_ROLE: must be another role than DATABASE_RUN_ROLE')
  return { run, keys }
}

/** Throws a ConfigError for a role that does not exist or has all rights anyway. Runs before any change. */
export function checkRoles(roles: Roles): Promise<void> {
  return transaction(systemContext('function:migrate'), async (tx) => {
    for (const [setting, role] of [
      ['DATABASE_RUN_ROLE', roles.run],
      ['DATABASE_KEYS_ROLE', roles.keys],
    ] as const) {
      const [found] = await tx<Array<{ hasAllRights: boolean }>>`
        select rolsuper or pg_has_role(rolname, current_user, 'member') as "hasAllRights" from pg_roles where rolname = ${role}`
      if (!found) throw new ConfigError(`${setting}: there is no role ${role}; create it first`)
      if (found.hasAllRights)
        throw new ConfigError(`${setting}: ${role} must have less rights than the role that migrates`)
    }
  })
}

/**
 * Grants the functions' rights on the tables of the migrating role: all rights on rows, except that ledger rows can only be added, and only
 * the keys role may write API keys. Neither role may create or change a table. Runs with each migration, so that new tables are
 * covered.
 */
export function grantRights({ run, keys }: Roles): Promise<void> {
  return transaction(systemContext('function:migrate'), async (tx) => {
    const [{ database }] = await tx<[{ database: string }]>`select current_database() as database`
    const both = tx`${tx(run)}, ${tx(keys)}`
    await tx`revoke temporary on database ${tx(database)} from public`
    await tx`revoke create on schema public from public`
    await tx`revoke all on all tables in schema public from ${both}`
    await tx`grant usage on schema public to ${both}`
    await grantToRun(tx, run)
    await tx`grant select, insert, update, delete on api_keys, revoked_api_keys, idempotency_keys to ${tx(keys)}`
  })
}

async function grantToRun(tx: Sql, run: string): Promise<void> {
  await tx`grant select, insert, update, delete on all tables in schema public to ${tx(run)}`
  await tx`revoke update, delete on stock_movements from ${tx(run)}`
  await tx`revoke insert, update, delete on api_keys, revoked_api_keys from ${tx(run)}`
  await tx`revoke all on schema_migrations from ${tx(run)}`
}
