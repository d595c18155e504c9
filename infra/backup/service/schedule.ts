import type { Backup, BackupType } from '../repository/repository.ts'

/** Seconds from one backup to the next one that contains at least as much, by type. */
export type Intervals = Record<BackupType, number>

/** The types whose backups can replace one of this type. */
const COVERED_BY: Record<BackupType, readonly BackupType[]> = {
  full: ['full'],
  diff: ['full', 'diff'],
  incr: ['full', 'diff', 'incr'],
}

/** A backup is due up to a tenth earlier, so that many databases with one store are not always backed up in the same minute. */
const JITTER = 0.1

/**
 * Returns the backup that is due, the fullest of several, or undefined. If the archive lacks a segment after the newest backup, the time after
 * that gap can't be restored until there is another backup, so a backup is due at once. `chance` is from 0 to 1.
 */
export function dueBackup(
  backups: readonly Backup[],
  intervals: Intervals,
  { now, chance, hasGap }: { now: Date; chance: number; hasGap: boolean },
): BackupType | undefined {
  for (const type of ['full', 'diff', 'incr'] as const) {
    const last = backups.findLast((backup) => COVERED_BY[type].includes(backup.type))
    if (!last) return type
    const seconds = (now.getTime() - last.startedAt.getTime()) / 1_000
    if (seconds >= intervals[type] * (1 - JITTER * chance)) return type
  }
  return hasGap ? 'incr' : undefined
}
