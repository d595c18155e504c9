import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { type Archive, readArchive } from './archive-names.ts'
import { type Fork, findGaps, type Gap, readHistory, timelinesWithoutHistory } from './continuity.ts'
import { type PgBackRest, STANZA } from './pgbackrest.ts'
import { readVerifyText } from './verify-report.ts'

export const backupTypes = ['full', 'diff', 'incr'] as const
export type BackupType = (typeof backupTypes)[number]

export interface Backup {
  name: string
  type: BackupType
  startedAt: Date
  endedAt: Date
  /** The first and the last segment that it needs. */
  archiveStart: string
  archiveStop: string
  /** Of the cluster, and of what is in the repository for it alone. */
  clusterBytes: number
  storedBytes: number
  /** Pages with wrong checksums were copied. */
  hasErrors: boolean
}

export interface RepositoryState {
  /** The oldest first. */
  backups: Backup[]
  /** Of the current cluster, such as 18-1. */
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

/**
 * Backs up into each repository, as pgBackRest does not by itself: without being told it takes the first one alone. One that has no backup yet
 * gets a full one, whatever the type.
 */
export async function backUpInto(run: PgBackRest, type: BackupType): Promise<void> {
  const [info] = InfoSchema.parse(parseInfo(await run('info', '--output=json')))
  for (const { key } of info.repo) await run('backup', `--type=${type}`, `--repo=${key}`)
}

/** pgBackRest's codes for a repository without a stanza, and with an unfinished one. */
const NO_STANZA = [1, 3]
/** A segment is archived in less than a second; where there is no stanza yet, each attempt fails as soon. */
const LOCK_PAUSE_MS = 500
const LOCK_ATTEMPTS = 20
const StanzaSchema = z.tuple([z.object({ repo: z.array(z.object({ status: z.object({ code: z.number() }) })) })])

/** Makes the stanza in each repository that has none. Otherwise it only looks: making one needs the lock that archiving holds. */
export async function ensureStanza(run: PgBackRest): Promise<void> {
  const [{ repo }] = StanzaSchema.parse(parseInfo(await run('info', '--output=json')))
  if (!repo.some(({ status }) => NO_STANZA.includes(status.code))) return
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

/** Throws with pgBackRest's reason where the repository can't be read: it ends with 0 then too. */
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

/** With a wrong key, it quotes what it could not make sense of, with characters that JSON does not allow. */
function parseInfo(text: string): unknown {
  try {
    return JSON.parse(text.replace(/\p{Cc}/gu, ' '))
  } catch (cause) {
    throw new Error("The repository can't be read: what pgBackRest says of it is not JSON; is the key the right one?", {
      cause,
    })
  }
}

/** With a wrong key, what follows the first line is noise. */
const firstLine = (text: string) => text.split(/:?\s*(?:\n|FormatError:)/)[0] ?? text

export interface Continuity {
  archive: Archive
  gaps: Gap[]
  /** A sentence for each thing that keeps a point in time from being restored. */
  findings: string[]
}

/** Compares the names in the archive with what must be there; `last` is the last segment that the server knows to be archived. */
export async function checkContinuity(run: PgBackRest, state: RepositoryState, last?: string): Promise<Continuity> {
  const { archiveId, backups } = state
  const folder = `archive/${STANZA}/${archiveId}`
  const names = archiveId === undefined ? [] : await listNames(run, folder)
  const archive = readArchive(names)
  const first = backups[0]?.archiveStart
  if (first === undefined) return { archive, gaps: [], findings: ['there is no backup'] }
  const forks = new Map<number, Fork>()
  for (const timeline of archive.histories) {
    const name = timeline.toString(16).toUpperCase().padStart(8, '0')
    for (const fork of readHistory(timeline, await run('repo-get', `${folder}/${name}.history`)))
      forks.set(fork.timeline, fork)
  }
  const gaps = findGaps(archive, [...forks.values()], first, last)
  const findings = [
    ...gaps.map(
      ({ from, to, segments }) =>
        `the archive lacks ${segments === 1 ? from : `${segments} segments, ${from} to ${to}`}`,
    ),
    ...archive.ambiguous.map((name) => `the archive has ${name} twice, with different content`),
    ...timelinesWithoutHistory(archive, first).map(
      (timeline) => `the archive lacks the history file of timeline ${timeline}`,
    ),
  ]
  return { archive, gaps, findings }
}

async function listNames(run: PgBackRest, folder: string): Promise<string[]> {
  const listing = JSON.parse(await run('repo-ls', '--recurse', '--output=json', folder)) as Record<
    string,
    { type: string }
  >
  return Object.entries(listing).flatMap(([path, { type }]) =>
    type === 'file' ? [path.slice(path.lastIndexOf('/') + 1)] : [],
  )
}

/**
 * All that is wrong with a repository, a sentence each: none, and each moment since the oldest backup can be restored. Reads every file
 * of it. `ageMaxSeconds` bounds the age of the newest backup.
 */
export async function inspectRepository(
  run: PgBackRest,
  { ageMaxSeconds, last, now = new Date() }: { ageMaxSeconds: number; last?: string; now?: Date },
): Promise<string[]> {
  const state = await readRepository(run)
  const { findings } = await checkContinuity(run, state, last)
  const report = readVerifyText(await run('verify', '--output=text', '--verbose'))
  const damaged = state.backups
    .filter(({ hasErrors }) => hasErrors)
    .map(({ name }) => `backup ${name} has pages with wrong checksums`)
  return [...tooOld(state, ageMaxSeconds, now), ...findings, ...report.findings, ...damaged]
}

function tooOld({ backups }: RepositoryState, ageMaxSeconds: number, now: Date): string[] {
  const newest = backups.at(-1)
  if (!newest) return []
  const ageSeconds = Math.round((now.getTime() - newest.endedAt.getTime()) / 1000)
  return ageSeconds > ageMaxSeconds ? [`the newest backup is ${ageSeconds} s old; ${ageMaxSeconds} s are allowed`] : []
}
