import { resolve } from 'node:path'
import * as z from 'zod'
import { DEVELOPMENT_KEY, embeddedKeySetting, ownKeySetting } from '#access/bootstrap-key'
import { integerSetting } from '#config'

export interface Settings {
  port: number
  host: string
  metricsPort: number
  /** An absolute path. */
  dataDir: string
  seed: boolean
  bootstrapApiKey: string
  /** The PostgreSQL to use instead of the embedded one. */
  databaseUrl: string | undefined
  databaseReplicaUrl: string | undefined
  /** Hosts to serve besides localhost and loopback addresses. */
  allowedHosts: readonly string[]
  logLevel: string
}

/** Settings are missing or invalid. The message has a line for each. */
export class BadSettings extends Error {
  override readonly name = 'BadSettings'
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
const databaseSchema = z
  .string()
  .regex(/^postgres(ql)?:\/\/\S+$/, 'must be a postgres:// URL')
  .optional()

const settingsSchema = z.object({
  PORT: integerSetting({ min: 0, max: 65_535, default: 3000 }),
  HOST: z.string().default('127.0.0.1'),
  /** 0 takes a port that is free. */
  METRICS_PORT: integerSetting({ min: 0, max: 65_535, default: 0 }),
  DATA_DIR: z.string().default('.local'),
  SEED: z.enum(['0', '1'], 'must be 0 or 1').optional(),
  BOOTSTRAP_API_KEY: embeddedKeySetting,
  DATABASE_URL: databaseSchema,
  DATABASE_REPLICA_URL: databaseSchema,
  ALLOWED_HOSTS: z
    .string()
    .regex(/^\s*[\w.~:[\]-]+(\s*,\s*[\w.~:[\]-]+)*\s*$/, 'must be names or addresses, with commas between')
    .optional(),
  LOG_LEVEL: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).default('info'),
})

type Environment = Record<string, string | undefined>

/**
 * Reads the settings of `npm start` from an environment. An empty variable counts as absent. `usesKey` says whether the command uses or
 * creates the admin key. Throws BadSettings.
 */
export function readSettings(environment: Environment, { usesKey = true } = {}): Settings {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const parsed = settingsSchema.safeParse(given)
  const lines = parsed.error?.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`) ?? []
  lines.push(...(usesKey ? contradictionsOfKey(given) : []), ...contradictions(given))
  if (!parsed.success || lines.length > 0) throw new BadSettings(lines.join('\n'))
  const settings = parsed.data
  return {
    port: settings.PORT,
    host: settings.HOST,
    metricsPort: settings.METRICS_PORT,
    dataDir: resolve(settings.DATA_DIR),
    // An existing database belongs to the user. By default, only a new one gets the demo data.
    seed: settings.SEED === undefined ? settings.DATABASE_URL === undefined : settings.SEED === '1',
    bootstrapApiKey: settings.BOOTSTRAP_API_KEY,
    databaseUrl: settings.DATABASE_URL,
    databaseReplicaUrl: settings.DATABASE_REPLICA_URL,
    allowedHosts: settings.ALLOWED_HOSTS?.split(',').map((host) => host.trim()) ?? [],
    logLevel: settings.LOG_LEVEL,
  }
}

/** Separate from the schema, whose cross-field checks don't run while any field is invalid. */
function contradictions({ DATABASE_URL, DATABASE_REPLICA_URL }: Environment): string[] {
  if (!DATABASE_REPLICA_URL || DATABASE_URL) return []
  return ['DATABASE_REPLICA_URL needs DATABASE_URL too: the embedded primary brings its own replica']
}

function contradictionsOfKey({ HOST, BOOTSTRAP_API_KEY, DATABASE_URL }: Environment): string[] {
  const ownKey = ownKeySetting.safeParse(BOOTSTRAP_API_KEY)
  // A key that no database accepts is already reported.
  if (!embeddedKeySetting.safeParse(BOOTSTRAP_API_KEY).success) return []
  if (DATABASE_URL && !ownKey.success) {
    return [`BOOTSTRAP_API_KEY ${ownKey.error.issues[0]?.message}, since DATABASE_URL names a database of yours`]
  }
  const keyIsPublic = !BOOTSTRAP_API_KEY || BOOTSTRAP_API_KEY === DEVELOPMENT_KEY
  if (!HOST || isLoopback(HOST) || !keyIsPublic) return []
  return [`BOOTSTRAP_API_KEY must be a secret of your own when HOST (${HOST}) is not a loopback address`]
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}
