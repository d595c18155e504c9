import * as z from 'zod'
import { defineSettings, integerSetting } from '#config'
import { logger } from '#telemetry'
import { parseServerUrl } from './servers/server-url.ts'

const serverUrl = z.string({ error: `must be a postgres:// URL, such as the databaseUrl in .local/stack.json` }).check(
  z.superRefine((url, context) => {
    try {
      serverUrls(url).forEach(parseServerUrl)
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message })
    }
  }),
)

/** A pooler may switch servers between two statements, which no probe of the replica would notice. */
const replicaUrl = serverUrl.refine((url) => !isPooled(url), 'must name the replica itself, without pgbouncer=true')

const settingsSchema = z.object({
  /** May name several servers, `postgres://user:password@one:5432,two:5432/stock`: the service uses the primary among them. */
  DATABASE_URL: serverUrl,
  /** May name several servers in the same way: the service uses the first standby that answers. */
  DATABASE_REPLICA_URL: replicaUrl.optional(),
  DATABASE_POOL_MAX: integerSetting({ min: 1, max: 100, default: 10 }),
  /** Reads avoid a replica that lags by more than either limit. Look-ups of API keys avoid one that lags by more than 2 s. */
  DATABASE_REPLICA_LAG_MAX_BYTES: integerSetting({ min: 0, max: Number.MAX_SAFE_INTEGER, default: 64 * 1024 * 1024 }),
  DATABASE_REPLICA_LAG_MAX_MS: integerSetting({ min: 0, max: 60_000, default: 2_000 }),
  /** What a commit waits for. The server's own setting by default. */
  DATABASE_SYNCHRONOUS_COMMIT: z.enum(['on', 'local', 'remote_write', 'remote_apply']).optional(),
})

export type DatabaseSettings = z.infer<typeof settingsSchema>

/** The settings of this module. Throws a ConfigError. */
export const databaseSettings = defineSettings(settingsSchema, (settings): DatabaseSettings => {
  warnOfIgnored('DATABASE_URL', settings.DATABASE_URL)
  warnOfIgnored('DATABASE_REPLICA_URL', settings.DATABASE_REPLICA_URL)
  return settings
})

function warnOfIgnored(name: string, url: string | undefined): void {
  const ignored = url === undefined ? [] : parseServerUrl(serverUrls(url)[0] ?? '').ignored
  if (ignored.length > 0)
    logger().warn({ parameters: ignored }, `${name}: its parameters ${ignored.join(', ')} have no effect`)
}

/** Whether the URL says that a server is behind PgBouncer. */
export function isPooled(url: string): boolean {
  return serverUrls(url).some((each) => parseServerUrl(each).isPooled)
}

/** A URL for each server that `url` names, in the same order. They differ in host and port only. */
export function serverUrls(url: string): string[] {
  const [, before = '', hosts = '', after = ''] = /^([^/]+\/\/(?:[^/?#]*@)?)([^/?#@]*)(.*)$/s.exec(url) ?? []
  return hosts.split(',').map((host) => `${before}${host}${after}`)
}
