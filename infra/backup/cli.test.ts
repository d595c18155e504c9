import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { npmScript } from '#testing/npm-script'

// Replaces docker by a program that prints its arguments, and that fails if it is asked to verify.

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stock-docker-'))
  const script = '#!/bin/sh\necho "$@"\ncase "$*" in *verify*) echo unsound >&2; exit 1;; esac\n'
  await writeFile(join(folder, 'docker'), script, { mode: 0o755 })
})
afterAll(() => rm(folder, { recursive: true }))

const backup = (...args: string[]) => {
  const [file, ...words] = npmScript('backup')
  const env = { PATH: `${folder}:${process.env.PATH}` }
  return promisify(execFile)(file, [...words, ...args], { env }).then(
    ({ stdout }) => ({ printed: stdout, failed: '' }),
    ({ stdout, stderr }: { stdout: string; stderr: string }) => ({ printed: stdout, failed: stderr }),
  )
}

it('a command with --compose is that of the container', async () => {
  expect(await backup('list', '--compose', '--repository', '2')).toEqual({
    printed: 'compose exec -T backup backup list --repository 2\n',
    failed: '',
  })
})

it('what fails in the container fails here, and says why', async () => {
  const { printed, failed } = await backup('verify', '--compose')
  expect(printed).toBe('compose exec -T backup backup verify\n')
  expect(failed).toContain('unsound')
})

it('a restore in containers is for a dry run alone', async () => {
  expect((await backup('restore', '--to', 'latest', '--dry-run', '--compose')).printed).toBe(
    'compose exec -T backup backup restore --to latest --dry-run\n',
  )
  const { printed, failed } = await backup('restore', '--to', 'latest', '--compose')
  expect(printed).toBe('')
  expect(failed).toContain('docs/runbooks/backup-and-restore.md')
})
