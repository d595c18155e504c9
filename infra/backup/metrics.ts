import { counter, gauge } from '#telemetry'
import { type Backup, backupTypes } from './repository.ts'

/** What the repository and the server said last. */
export const seen: { backups: readonly Backup[]; gapSegments: number; waiting: number; lagSeconds: number } = {
  backups: [],
  gapSegments: 0,
  waiting: 0,
  lagSeconds: 0,
}

const ageOf = ({ endedAt }: Backup) => (Date.now() - endedAt.getTime()) / 1_000
const tookOf = ({ startedAt, endedAt }: Backup) => (endedAt.getTime() - startedAt.getTime()) / 1_000

const age = gauge('backup_age_seconds', 'Age of the newest backup of a type.', ['type'], () =>
  eachNewest((type, backup) => age.set({ type }, ageOf(backup))),
)
const took = gauge('backup_duration_seconds', 'Time that the newest backup of a type took.', ['type'], () =>
  eachNewest((type, backup) => took.set({ type }, tookOf(backup))),
)
const stored = gauge(
  'backup_stored_bytes',
  'Bytes in the repository for the newest backup of a type alone.',
  ['type'],
  () => eachNewest((type, backup) => stored.set({ type }, backup.storedBytes)),
)
const cluster = gauge('backup_cluster_bytes', 'Bytes of the cluster in its newest backup.', [], () => {
  cluster.set(seen.backups.at(-1)?.clusterBytes ?? 0)
})
const gaps = gauge(
  'backup_archive_gap_segments',
  'Segments that the archive lacks since the oldest backup.',
  [],
  () => {
    gaps.set(seen.gapSegments)
  },
)
const waiting = gauge('backup_archive_waiting_segments', 'Segments that the server has to archive.', [], () => {
  waiting.set(seen.waiting)
})
const lag = gauge('backup_archive_lag_seconds', 'For how long the oldest of those has been complete.', [], () => {
  lag.set(seen.lagSeconds)
})
/** Of a backup by its type, of a drill, or of a look at the repository. */
export const runs = counter('backup_runs_total', 'Backups, drills and looks at the repository, by result.', [
  'type',
  'result',
])

// From the start: of a series that begins with a failure, no rate would tell.
for (const type of ['look', 'drill', ...backupTypes]) {
  for (const result of ['succeeded', 'failed']) runs.inc({ type, result }, 0)
}

function eachNewest(set: (type: string, backup: Backup) => void): void {
  for (const type of backupTypes) {
    const backup = seen.backups.findLast((each) => each.type === type)
    if (backup) set(type, backup)
  }
}
