import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as z from 'zod'
import { defineSettings, environment, integerSetting } from '#config'

const hours = (byDefault: number) => integerSetting({ min: 1, max: 10_000, default: byDefault })

/** How often which backup is made, and a restore tried. */
export const scheduleSettings = defineSettings(
  z.object({
    BACKUP_FULL_EVERY_HOURS: hours(168),
    BACKUP_DIFF_EVERY_HOURS: hours(24),
    BACKUP_INCR_EVERY_HOURS: hours(1),
    BACKUP_DRILL_EVERY_HOURS: hours(24),
  }),
  (variables) => ({
    full: variables.BACKUP_FULL_EVERY_HOURS * 3_600,
    diff: variables.BACKUP_DIFF_EVERY_HOURS * 3_600,
    incr: variables.BACKUP_INCR_EVERY_HOURS * 3_600,
    drill: variables.BACKUP_DRILL_EVERY_HOURS * 3_600,
    /** Two backups in a row may fail before a repository is too old. */
    ageMaxSeconds: 3 * variables.BACKUP_INCR_EVERY_HOURS * 3_600,
  }),
)

const PREFIX = 'PGBACKREST_'

/** Whether this process has been told where a repository of pgBackRest is. */
export const hasRepository = () => Object.keys(environment()).some((name) => name.startsWith(PREFIX))

/** The file with what is the same for every repository of the service. */
export const commonConfiguration = () => readFile(new URL('./pgbackrest.conf', import.meta.url), 'utf8')

/**
 * The configuration file that PGBACKREST_CONFIG names, or else one that is made of the other PGBACKREST_* variables: a server that recovers
 * from the archive has no variables of this process, and reads it. `remove` deletes what was made. It has the key, so it is for this user alone.
 */
export async function configurationFile(): Promise<{ file: string; remove: () => Promise<void> }> {
  const { PGBACKREST_CONFIG: given } = environment()
  if (given) return { file: given, remove: async () => {} }
  const folder = await mkdtemp(join(tmpdir(), 'stock-backup-'))
  const file = join(folder, 'pgbackrest.conf')
  const lines = Object.entries(environment()).filter(([name]) => name.startsWith(PREFIX) && name !== `${PREFIX}STANZA`)
  const options = Object.fromEntries(lines.map(([name, value]) => [optionOf(name), value]))
  const common = await commonConfiguration()
  const all = Object.entries({ ...ofFurtherRepositories(common, Object.keys(options)), ...options })
  const text = all.map(([name, value]) => `${name}=${value}\n`).join('')
  await writeFile(file, `${common}\n[global]\n${text}`, { mode: 0o600 })
  return { file, remove: () => rm(folder, { recursive: true, force: true }) }
}

/**
 * How the first repository is filled and kept, for each further one that there are options for. Not how it is encrypted: the server that archives
 * has to be told of that, and does not read this.
 */
export function ofFurtherRepositories(common: string, options: readonly string[]): Record<string, string> {
  const numbers = new Set(
    options.flatMap((name) => /^repo(\d+)-/.exec(name)?.[1] ?? []).filter((number) => number !== '1'),
  )
  const ofFirst = [...common.matchAll(/^repo1-((?!cipher-)[\w-]+)=(.*)$/gm)]
  return Object.fromEntries(
    [...numbers].flatMap((number) => ofFirst.map(([, name = '', value = '']) => [`repo${number}-${name}`, value])),
  )
}

/** PGBACKREST_REPO1_CIPHER_PASS is repo1-cipher-pass. */
const optionOf = (name: string) => name.slice(PREFIX.length).toLowerCase().replaceAll('_', '-')
