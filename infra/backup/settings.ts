import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as z from 'zod'
import { defineSettings, environment, integerSetting } from '#config'

const hours = (byDefault: number) => integerSetting({ min: 1, max: 10_000, default: byDefault })

/** How often each type of backup is made, and how often a restore is tested. */
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

/** Whether this process's settings name a repository of pgBackRest. */
export const hasRepository = () => Object.keys(environment()).some((name) => name.startsWith(PREFIX))

/** Reads the settings that are the same for every repository of the service. */
export const commonConfiguration = () => readFile(new URL('./pgbackrest.conf', import.meta.url), 'utf8')

/**
 * Returns the configuration file that PGBACKREST_CONFIG names, or else makes one from the other PGBACKREST_* variables. A server that recovers
 * from the archive reads that file, since it does not have this process's variables. `remove` deletes a file that was made. Such a file contains
 * the key, so only this user may read it.
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
 * Repeats the storage and retention settings of the first repository for each further one that has options. Not those for encryption: the
 * archiving server needs them too, and does not read this.
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

/** Converts PGBACKREST_REPO1_CIPHER_PASS to repo1-cipher-pass. */
const optionOf = (name: string) => name.slice(PREFIX.length).toLowerCase().replaceAll('_', '-')
