import { counter, gauge } from '#telemetry'
import { type Backup, backupTypes } from '../repository/repository.ts'

/** The last known state of a repository. */
export interface SeenRepository {
  backups: readonly Backup[]
  gapSegments: number
  /** The last segment that is missing from its archive; empty if none is missing. */
  newestGap: string
}

/** The last known state of the server, and of each repository by its number. */
export const seen = { waiting: 0, lagSeconds: 0, repositories: new Map<number, SeenRepository>() }

/** The repositories whose last drill failed. */
const failedDrills = new Set<number>()
/** When a drill of each repository last succeeded. Before the first success, when this process first saw the repository. */
const provenAt = new Map<number, number>()

/** Records the result of a drill. */
export function noteDrill(repository: number, hasSucceeded: boolean): void {
  if (hasSucceeded) provenAt.set(repository, Date.now())
  if (hasSucceeded) failedDrills.delete(repository)
  else failedDrills.add(repository)
}

const ageOf = ({ endedAt }: Backup) => (Date.now() - endedAt.getTime()) / 1_000
const tookOf = ({ startedAt, endedAt }: Backup) => (endedAt.getTime() - startedAt.getTime()) / 1_000

const age = gauge('backup_age_seconds', 'Age of the newest backup of a type.', ['type', 'repository'], () => {
  age.reset()
  eachNewest((labels, backup) => age.set(labels, ageOf(backup)))
})
const took = gauge(
  'backup_duration_seconds',
  'Time that the newest backup of a type took.',
  ['type', 'repository'],
  () => {
    took.reset()
    eachNewest((labels, backup) => took.set(labels, tookOf(backup)))
  },
)
const stored = gauge(
  'backup_stored_bytes',
  'Bytes in the repository for the newest backup of a type alone.',
  ['type', 'repository'],
  () => {
    stored.reset()
    eachNewest((labels, backup) => stored.set(labels, backup.storedBytes))
  },
)
const cluster = gauge('backup_cluster_bytes', 'Bytes of the cluster in its newest backup.', ['repository'], () => {
  cluster.reset()
  for (const [number, { backups }] of seen.repositories)
    cluster.set({ repository: String(number) }, backups.at(-1)?.clusterBytes ?? 0)
})
const gaps = gauge(
  'backup_archive_gap_segments',
  'Segments that the archive lacks since the oldest backup.',
  ['repository'],
  () => {
    gaps.reset()
    for (const [number, { gapSegments }] of seen.repositories) gaps.set({ repository: String(number) }, gapSegments)
  },
)
const unproven = gauge(
  'backup_drill_failed',
  'Whether the last drill failed: 1 until one succeeds.',
  ['repository'],
  () => {
    unproven.reset()
    for (const number of seen.repositories.keys())
      unproven.set({ repository: String(number) }, failedDrills.has(number) ? 1 : 0)
  },
)
const proof = gauge(
  'backup_drill_age_seconds',
  'Time since a drill last succeeded; until one has, since the process came to know of the repository.',
  ['repository'],
  () => {
    proof.reset()
    for (const [number, at] of provenAt) proof.set({ repository: String(number) }, (Date.now() - at) / 1_000)
  },
)
const waiting = gauge('backup_archive_waiting_segments', 'Segments that the server has to archive.', [], () => {
  waiting.set(seen.waiting)
})
const lag = gauge('backup_archive_lag_seconds', 'For how long the oldest of those has been complete.', [], () => {
  lag.set(seen.lagSeconds)
})
/** Counts backups by type, drills, and checks. A check of the server has no repository. */
export const runs = counter(
  'backup_runs_total',
  'Backups, drills and looks at the server and the repositories, by result.',
  ['type', 'repository', 'result'],
)

for (const result of ['succeeded', 'failed']) runs.inc({ type: 'look', result }, 0)

/**
 * Counts the runs on these repositories from zero: if a series began with a failure, no rate would show it. Measures the time since their last
 * drill, even if they can't be read. Forgets all other repositories.
 */
export function expectRepositories(numbers: readonly number[]): void {
  for (const number of numbers) {
    if (!provenAt.has(number)) provenAt.set(number, Date.now())
    for (const type of ['look', 'drill', ...backupTypes]) {
      for (const result of ['succeeded', 'failed']) runs.inc({ type, repository: String(number), result }, 0)
    }
  }
  for (const kept of [seen.repositories, provenAt])
    for (const number of kept.keys()) if (!numbers.includes(number)) kept.delete(number)
}

function eachNewest(set: (labels: { type: string; repository: string }, backup: Backup) => void): void {
  for (const [number, { backups }] of seen.repositories) {
    for (const type of backupTypes) {
      const backup = backups.findLast((each) => each.type === type)
      if (backup) set({ type, repository: String(number) }, backup)
    }
  }
}
