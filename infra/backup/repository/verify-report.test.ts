import { expect, it } from 'vitest'
import { readVerifyText } from './verify-report.ts'

const archive = (wrong: string) => `stanza: stock
status: ok
  archiveId: 18-1, total WAL checked: 11, total valid WAL: 11
    ${wrong}
  backup: 20261129-124938F, status: valid, total files checked: 974, total valid files: 974
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
`
const nothing = 'missing: 0, checksum invalid: 0, size invalid: 0, other: 0'

it('a repository that pgBackRest finds in order is sound', () => {
  expect(readVerifyText(archive(nothing))).toEqual({ isSound: true, findings: [] })
})

it.each([
  [nothing.replace('missing: 0', 'missing: 1'), ['the archive of 18-1 has 1 file missing']],
  [nothing.replace('size invalid: 0', 'size invalid: 12'), ['the archive of 18-1 has 12 files of a wrong size']],
  [nothing.replace('other: 0', 'other: 2'), ['the archive of 18-1 has 2 files that could not be read']],
])('counts are believed, whatever the status says: %s', (counts, findings) => {
  expect(readVerifyText(archive(counts))).toEqual({ isSound: false, findings })
})

it('a damaged backup is named, and so is each that builds on it', () => {
  const text = `stanza: stock
status: error
  backup: 20261129-124938F, status: invalid, total files checked: 974, total valid files: 973
    checksum invalid: 1
  backup: 20261129-124938F_20261129-124946D, status: invalid, total files checked: 974, total valid files: 973
    checksum invalid: 1
`
  expect(readVerifyText(text).findings).toEqual([
    'backup 20261129-124938F is invalid',
    'backup 20261129-124938F has 1 file with a wrong checksum',
    'backup 20261129-124938F_20261129-124946D is invalid',
    'backup 20261129-124938F_20261129-124946D has 1 file with a wrong checksum',
  ])
})

it.each([
  ['', 'could not read the repository'],
  ['WARN: something else', 'could not read the repository'],
  ['stanza: stock\nstatus: error\n', "in the state 'error'"],
])('what says nothing, or nothing that is understood, is not sound: %j', (text, reason) => {
  const { isSound, findings } = readVerifyText(text)
  expect(isSound).toBe(false)
  expect(findings.join()).toContain(reason)
})
