import * as z from 'zod'
import { defineSettings, integerSetting } from '#config'
import { logger } from '#telemetry'
import { parseServerUrl } from './server-url.ts'

const serverUrl = z.string({ error: `must be a postgres:// URL, such as the databaseUrl in .local/stack.json` }).check(
  z.superRefine((url, context) => {
    try {
      serverUrls(url).forEach(parseServerUrl)
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message })
    }
  }),
)

/** A pooler may ask another server from one statement to the next, which no look at the replica would tell. */
const replicaUrl = serverUrl.refine((url) => !isPooled(url), 'must name the replica itself, without pgbouncer=true')

const settingsSchema = z.object({
  /** May name several servers, `postgres://user:password@one:5432,two:5432/stock`: whichever is the primary is used. */
  DATABASE_URL: serverUrl,
  DATABASE_REPLICA_URL: replicaUrl.optional(),
  DATABASE_POOL_MAX: integerSetting({ min: 1, max: 100, default: 10 }),
  /** A replica that is further behind than either is not read from, nor asked for API keys where it is more than 2 s behind. */
  DATABASE_REPLICA_LAG_MAX_BYTES: integerSetting({ min: 0, max: Number.MAX_SAFE_INTEGER, default: 64 * 1024 * 1024 }),
  DATABASE_REPLICA_LAG_MAX_MS: integerSetting({ min: 0, max: 60_000, default: 2_000 }),
  /** What a commit waits for; the server's own setting where none is given. */
  DATABASE_SYNCHRONOUS_COMMIT: z.enum(['on', 'local', 'remote_write', 'remote_apply']).optional(),
})

export type DatabaseSettings = z.infer<typeof settingsSchema>

/** The settings of this module. Throws a ConfigError. */
export const databaseSettings = defineSettings(settingsSchema, (settings): DatabaseSettings => {
  tellIgnored('DATABASE_URL', settings.DATABASE_URL)
  tellIgnored('DATABASE_REPLICA_URL', settings.DATABASE_REPLICA_URL)
  return settings
})

function tellIgnored(name: string, url: string | undefined): void {
  const ignored = url === undefined ? [] : parseServerUrl(serverUrls(url)[0] ?? '').ignored
  if (ignored.length > 0)
    logger().warn({ parameters: ignored }, `${name}: what it says of ${ignored.join(', ')} has no effect`)
}

/** Whether it says of a server that it is behind PgBouncer. */
export function isPooled(url: string): boolean {
  return serverUrls(url).some((each) => parseServerUrl(each).isPooled)
}

/** A URL for each server that `url` names, in their order: they differ in host and port alone. */
export function serverUrls(url: string): string[] {
  const [, before = '', hosts = '', after = ''] = /^([^/]+\/\/(?:[^/?#]*@)?)([^/?#@]*)(.*)$/s.exec(url) ?? []
  return hosts.split(',').map((host) => `${before}${host}${after}`)
}
