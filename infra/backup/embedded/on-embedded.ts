import { environment } from '#config'
import { say } from '../../local/commands/operator-command.ts'
import { readSettings } from '../../local/settings.ts'
import { readStackFile, type Stack } from '../../local/stack-file.ts'
import { duration, size } from '../format.ts'
import { sayMark } from '../restore/mark.ts'
import type { RestoreTarget } from '../restore/target.ts'
import { type Copy, copyRunning, damageOf, KEPT_MAX, listCopies } from './backups.ts'
import { restoreCopy } from './restore.ts'

const dataDirOf = () => readSettings(environment(), { usesKey: false }).dataDir

/** Copies the database of the running stack. */
export async function copyNow(): Promise<void> {
  const dataDir = dataDirOf()
  const stack = await readStackFile(dataDir)
  if (!stack) throw new Error('No stack runs here: start one with npm start, or name a repository of pgBackRest.')
  if (stack.pids.primary === null)
    throw new Error('The stack uses a database of yours, which is not copied: name a repository of pgBackRest.')
  say(lineOf(await copyRunning(dataDir, stack.databaseUrl)))
  say(
    `The newest ${KEPT_MAX} are kept, on this disk: copy the folder elsewhere if the disk may be lost. ${notCovered(stack)}`,
  )
}

/** Says which engines a copy does not include. docs/decisions/0027 explains why it is complete without them. */
export function notCovered({ engines }: Pick<Stack, 'engines'>): string {
  const names = { CACHE_URL: 'Redis', EVENTS_URL: 'Kafka', JOBS_URL: 'RabbitMQ' }
  const away = Object.entries(names).flatMap(([setting, name]) => (engines && setting in engines ? [name] : []))
  return away.length === 0
    ? 'It has the event log and the queue of jobs, too.'
    : `It does not have what is in ${away.join(', ')}, and needs none of it: after a restore, resume publishes what there is.`
}

export async function listEmbedded(): Promise<void> {
  const copies = await listCopies(dataDirOf())
  for (const copy of copies) say(lineOf(copy))
  if (copies.length === 0) say('none')
}

function lineOf({ name, startedAt, endedAt, files }: Copy): string {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  return `${name}  ${endedAt.toISOString()}, in ${duration(endedAt.getTime() - startedAt.getTime())}: ${size(bytes)}`
}

/** Checks the copies. Throws an error with a line for each file that has changed. */
export async function verifyEmbedded(): Promise<void> {
  const dataDir = dataDirOf()
  const copies = await listCopies(dataDir)
  if (copies.length === 0) throw new Error('There is no backup.')
  const damage: string[] = []
  for (const copy of copies) damage.push(...(await damageOf(dataDir, copy)))
  if (damage.length > 0) throw new Error(damage.join('\n'))
  say(`${copies.length} sound`)
}

/** Replaces the data of a stopped stack by a backup, or only says what that would do. */
export async function restoreEmbedded(target: RestoreTarget, { isDryRun }: { isDryRun: boolean }): Promise<void> {
  const dataDir = dataDirOf()
  const copy = choose(await listCopies(dataDir), target)
  if (isDryRun) {
    say(`Would put backup ${copy.name}, of ${copy.endedAt.toISOString()}, in the place of ${dataDir}/postgres/primary,`)
    return say('which is kept as superseded; what was done since the backup would be forgotten.')
  }
  sayMark(await restoreCopy(dataDir, copy, say))
}

function choose(copies: Copy[], target: RestoreTarget): Copy {
  if (target.kind === 'time') {
    throw new Error('The embedded stack keeps no archive of its log: --to latest, or --to the name of a backup (list).')
  }
  const copy = target.kind === 'latest' ? copies.at(-1) : copies.find(({ name }) => name === target.name)
  if (!copy)
    throw new Error(target.kind === 'latest' ? 'There is no backup.' : `There is no backup ${target.name} (list).`)
  return copy
}
