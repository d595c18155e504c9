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
 * What a deployment runs once before its functions: the schema is brought up to date, the rights of the
 * functions' roles granted where they are named, the admin key made, and the demo catalogue
 * put in if that is asked for. Running it again changes nothing. Sets the exit code to 1, with one clear line, where it fails.
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
