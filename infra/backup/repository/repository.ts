import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import type { PgBackRest } from './pgbackrest.ts'

export const backupTypes = ['full', 'diff', 'incr'] as const
export type BackupType = (typeof backupTypes)[number]

export interface Backup {
  name: string
  type: BackupType
  startedAt: Date
  endedAt: Date
  /** The first and the last segment that the backup needs. */
  archiveStart: string
  archiveStop: string
  /** The size of the cluster, and of the part of the repository that only this backup uses. */
  clusterBytes: number
  storedBytes: number
  /** Pages with wrong checksums were copied. */
  hasErrors: boolean
}

export interface RepositoryState {
  /** In order, the oldest first. */
  backups: Backup[]
  /** The id of the current cluster, such as 18-1. */
  archiveId: string | undefined
}

const seconds = z.number().transform((value) => new Date(value * 1000))
const InfoSchema = z.tuple([
  z.object({
    status: z.object({ code: z.number(), message: z.string() }),
    repo: z.array(z.object({ key: z.number(), status: z.object({ code: z.number(), message: z.string() }) })),
    archive: z.array(z.object({ id: z.string() })),
    backup: z.array(
      z.object({
        label: z.string(),
        type: z.enum(backupTypes),
        timestamp: z.object({ start: seconds, stop: seconds }),
        archive: z.object({ start: z.string(), stop: z.string() }),
        info: z.object({ size: z.number(), repository: z.object({ delta: z.number() }) }),
        error: z.boolean().nullable(),
      }),
    ),
  }),
])

/** One of the repositories that pgBackRest's settings name. */
export interface Repository {
  /** Its number in those settings, for example 2 for repo2-path. */
  number: number
  /** The beginning of sentences about it; empty if it is the only one. */
  prefix: string
  /** Runs a command on this repository only. */
  run: PgBackRest
}

/** The status of each repository in the output of info. That is not parsed as a whole: with a wrong key for one repository it may not be JSON. */
const STATUS = /"key":(\d+),"status":\{"code":(\d+)/g

/**
 * Returns all repositories, or the one of that number. Whether they can be read is found out later, for each separately. Throws if there is
 * none of that number.
 */
export async function findRepositories(run: PgBackRest, chosen?: number): Promise<Repository[]> {
  const numbers = (await statuses(run)).map(({ number }) => number)
  if (chosen !== undefined && !numbers.includes(chosen))
    throw new Error(`There is no repository ${chosen}: the settings have ${numbers.join(', ')}.`)
  return (chosen === undefined ? numbers : [chosen]).map((number) => ({
    number,
    prefix: numbers.length === 1 ? '' : `repository ${number}: `,
    run: (command, ...args) => run(command, `--repo=${number}`, ...args),
  }))
}

async function statuses(run: PgBackRest): Promise<Array<{ number: number; code: number }>> {
  const text = await run('info', '--output=json')
  const found = [...text.matchAll(STATUS)].map(([, number, code]) => ({ number: Number(number), code: Number(code) }))
  if (found.length === 0)
    throw new Error("What pgBackRest says of the repositories can't be read: is there one at all?")
  return found.sort((a, b) => a.number - b.number)
}

/**
 * Does `work` for each repository, one after the other. A failure of one does not affect the others. Throws after the last one, with all
 * failures. Each line has the number of its repository.
 */
export async function eachRepository(
  repositories: readonly Repository[],
  work: (repository: Repository) => Promise<void>,
): Promise<void> {
  const failures: string[] = []
  for (const repository of repositories) {
    await work(repository).catch((error: Error) => {
      failures.push(...error.message.split('\n').map((line) => repository.prefix + line))
    })
  }
  if (failures.length > 0) throw new Error(failures.join('\n'))
}

/** pgBackRest's codes for a repository without a stanza, and with an unfinished one. */
const NO_STANZA = [1, 3]
/** A segment is archived in less than a second. Without a stanza, each attempt fails as quickly. */
const LOCK_PAUSE_MS = 500
const LOCK_ATTEMPTS = 20

/** Makes the stanza in each repository that has none. If none is missing, only looks: making one needs the lock that archiving holds. */
export async function ensureStanza(run: PgBackRest): Promise<void> {
  if (!(await statuses(run)).some(({ code }) => NO_STANZA.includes(code))) return
  for (let attempt = 1; ; attempt++) {
    try {
      await run('stanza-create')
      return
    } catch (error) {
      const isLocked = (error as Error).message.includes('unable to acquire lock')
      if (!isLocked || attempt === LOCK_ATTEMPTS) throw error
      await sleep(LOCK_PAUSE_MS)
    }
  }
}

/** pgBackRest's code for a repository that has no backup yet. */
const NO_BACKUPS = 2

/** Reads the repository of `run`. Throws pgBackRest's reason if it can't be read, since pgBackRest exits with 0 even then. */
export async function readRepository(run: PgBackRest): Promise<RepositoryState> {
  const [info] = InfoSchema.parse(parseInfo(await run('info', '--output=json')))
  const unreadable = info.repo.map(({ status }) => status).find(({ code }) => code !== 0 && code !== NO_BACKUPS)
  if (unreadable) throw new Error(`The repository can't be read: ${firstLine(unreadable.message)}`)
  const backups = info.backup.map(({ label, type, timestamp, archive, info: size, error }) => ({
    name: label,
    type,
    startedAt: timestamp.start,
    endedAt: timestamp.stop,
    archiveStart: archive.start,
    archiveStop: archive.stop,
    clusterBytes: size.size,
    storedBytes: size.repository.delta,
    hasErrors: error === true,
  }))
  return { backups, archiveId: info.archive.at(-1)?.id }
}

/** With a wrong key, pgBackRest quotes the data that it could not parse, with characters that JSON does not allow. */
function parseInfo(text: string): unknown {
  try {
    return JSON.parse(text.replace(/\p{Cc}/gu, ' '))
  } catch (cause) {
    throw new Error("The repository can't be read: what pgBackRest says of it is not JSON; is the key the right one?", {
      cause,
    })
  }
}

/** With a wrong key, the text after the first line is noise. */
const firstLine = (text: string) => text.split(/:?\s*(?:\n|FormatError:)/)[0] ?? text
