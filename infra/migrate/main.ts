import * as z from 'zod'
import { ensureBootstrapKey } from '#access'
import { ownKeySetting } from '#access/bootstrap-key'
import { shutDown } from '#async'
import { ConfigError, readConfig } from '#config'
import { databaseSettings, migrate } from '#database'
import { logger } from '#telemetry'
import { seedCatalogue } from '../local/seed.ts'
import { checkRoles, grantRights, runningRoles } from './rights.ts'

const settingsSchema = z.object({
  BOOTSTRAP_API_KEY: ownKeySetting,
  SEED: z.enum(['0', '1'], 'must be 0 or 1').default('0'),
})

/**
 * Runs once in a deployment, before the functions: brings the schema up to date, grants the rights of the functions' roles if they are
 * named, makes the admin key, and adds the demo catalogue if asked to. Running it again changes nothing. If it fails, it logs one line
 * and sets the exit code to 1.
 */
export async function runMigration(): Promise<void> {
  try {
    const { BOOTSTRAP_API_KEY, SEED } = readConfig(settingsSchema)
    databaseSettings()
    const roles = runningRoles()
    if (roles) await checkRoles(roles)
    const files = await migrate()
    logger().info({ files }, files.length === 0 ? 'the schema is up to date' : 'the schema was brought up to date')
    if (roles) await grantRights(roles)
    await ensureBootstrapKey(BOOTSTRAP_API_KEY)
    if (SEED === '1') await seedCatalogue((line) => logger().info(line))
  } catch (error) {
    if (error instanceof ConfigError) process.stderr.write(`${error.message}\n`)
    else logger().fatal({ err: error }, 'the database could not be prepared')
    process.exitCode = 1
  } finally {
    await shutDown()
  }
}
