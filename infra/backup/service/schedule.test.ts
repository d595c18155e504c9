import { expect, it } from 'vitest'
import type { Backup, BackupType } from '../repository/repository.ts'
import { dueBackup } from './schedule.ts'

const HOUR = 3_600
const intervals = { full: 168 * HOUR, diff: 24 * HOUR, incr: HOUR }
const now = new Date('2026-11-29T12:00:00Z')
const ago = (type: BackupType, hours: number): Backup => {
  const startedAt = new Date(now.getTime() - hours * HOUR * 1_000)
  return {
    name: type,
    type,
    startedAt,
    endedAt: startedAt,
    archiveStart: '',
    archiveStop: '',
    clusterBytes: 0,
    storedBytes: 0,
    hasErrors: false,
  }
}
const due = (backups: Backup[], { chance = 0, hasGap = false } = {}) =>
  dueBackup(backups, intervals, { now, chance, hasGap })

it('a new repository gets a full backup', () => {
  expect(due([])).toBe('full')
})

it.each([
  ['none', [ago('full', 0.5)], undefined],
  ['an incremental one each hour', [ago('full', 2)], 'incr'],
  ['none, since an incremental one was made', [ago('full', 2), ago('incr', 0.5)], undefined],
  [
    'a differential one each day, however many incremental ones there were',
    [ago('full', 30), ago('incr', 0.5)],
    'diff',
  ],
  ['none, since a differential one was made', [ago('full', 30), ago('diff', 0.5)], undefined],
  ['a full one each week', [ago('full', 170), ago('diff', 0.5)], 'full'],
] as const)('what is due: %s', (_, backups, expected) => {
  expect(due([...backups])).toBe(expected)
})

it('chance makes it up to a tenth earlier, and never later', () => {
  const backups = [ago('full', 0.95)]
  expect(due(backups, { chance: 0 })).toBeUndefined()
  expect(due(backups, { chance: 0.9 })).toBe('incr')
  expect(due([ago('full', 0.89)], { chance: 1 })).toBeUndefined()
})

it('a gap in the archive makes one due at once', () => {
  expect(due([ago('full', 0.1)], { hasGap: true })).toBe('incr')
})
