import type { Board } from './dashboard.ts'

const RUNBOOK = 'docs/runbooks/backup-and-restore.md'

/** The backup repositories and their WAL archives: how much would be lost, and how long a restore would take. */
export const backups: Board = {
  title: 'Backups',
  name: 'backups',
  rows: [
    {
      title: 'What would be lost',
      of: 'backup',
      panels: [
        {
          title: 'Log on the primary alone',
          unit: 's',
          lines: { 'oldest segment': 'max(backup_archive_lag_seconds)' },
          help: `What was sold since is lost with the primary's disk. A segment is archived within a minute: past two, ${RUNBOOK}.`,
        },
        {
          title: 'Segments that wait to be archived',
          unit: 'short',
          lines: { segments: 'max(backup_archive_waiting_segments)' },
          help: `Of 16 MiB each. Grows while much is written, and must shrink after: if it does not, the repository can't be reached or is full. ${RUNBOOK}.`,
        },
        {
          title: 'Segments that the archive lacks',
          unit: 'short',
          lines: { 'repository {{repository}}': 'max by (repository) (backup_archive_gap_segments)' },
          help: `Must be 0: no earlier backup reaches the time behind a gap. The next backup is made at once. ${RUNBOOK}.`,
        },
      ],
    },
    {
      title: 'Backups',
      of: 'backup',
      panels: [
        {
          title: 'Age of the newest',
          unit: 's',
          lines: { '{{type}}, repository {{repository}}': 'max by (type, repository) (backup_age_seconds)' },
          help: `The younger the newest of any type, the less of the log a restore has to replay. Past three hours: ${RUNBOOK}.`,
        },
        {
          title: 'Time that the newest took',
          unit: 's',
          lines: { '{{type}}, repository {{repository}}': 'max by (type, repository) (backup_duration_seconds)' },
          help: 'If a full one takes hours, it still runs when the next is due: let it run on more processes (process-max), or make fewer.',
        },
        {
          title: 'Bytes',
          unit: 'bytes',
          lines: {
            cluster: 'max(backup_cluster_bytes)',
            'stored, {{type}}, repository {{repository}}': 'max by (type, repository) (backup_stored_bytes)',
          },
          help: 'What the newest of each type takes up in the repository, beside the cluster that it stands for. Together with the archive this is what the disk must hold.',
        },
      ],
    },
    {
      title: 'Proof',
      of: 'backup',
      panels: [
        {
          title: 'Time since a drill succeeded',
          unit: 's',
          lines: { 'repository {{repository}}': 'max by (repository) (backup_drill_age_seconds)' },
          help: 'Until one has, since the process came to know of the repository. Past a day none was made, or it failed: docs/runbooks/drill-failed.md.',
        },
        {
          title: 'Runs that succeeded in a day',
          unit: 'short',
          lines: {
            '{{type}} {{repository}}':
              'sum by (type, repository) (increase(backup_runs_total{result="succeeded"}[1d]))',
          },
          help: 'By repository: a look each minute, the backups of the schedule, and a restore drill each day. The look without a number is at the server. No drill: nobody knows whether the backups can be restored.',
        },
        {
          title: 'Runs that failed in a day',
          unit: 'short',
          lines: {
            '{{type}} {{repository}}': 'sum by (type, repository) (increase(backup_runs_total{result="failed"}[1d]))',
          },
          help: `One that fails now and then is made again a minute later. A failed drill is never all right: ${RUNBOOK}. The log says why.`,
        },
      ],
    },
  ],
}
