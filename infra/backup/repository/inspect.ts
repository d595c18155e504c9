import { type Archive, readArchive } from './archive-names.ts'
import { type Fork, findGaps, type Gap, readHistory, timelinesWithoutHistory } from './continuity.ts'
import { type PgBackRest, STANZA } from './pgbackrest.ts'
import { type RepositoryState, readRepository } from './repository.ts'
import { readVerifyText } from './verify-report.ts'

export interface Continuity {
  archive: Archive
  gaps: Gap[]
  /** A sentence for each problem that prevents a restore to some point in time. */
  findings: string[]
}

/** Compares an archive's names with those that must be there. `run` works on one repository. `last` is the last segment that the server has archived. */
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
 * Returns a sentence for each problem of a repository. If there is none, each moment since the oldest backup can be restored. Reads every
 * file of the repository. `ageMaxSeconds` limits the age of the newest backup.
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
