import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { ensureArchive } from './kafka-archive.ts'

test('an archive that can’t be made is reported, and nothing of it is left', async () => {
  const jars = await mkdtemp(join(tmpdir(), 'no-kafka-'))
  onTestFinished(() => rm(jars, { recursive: true }))
  await writeFile(join(jars, 'broken.jar'), 'This is no jar.')
  const lines: string[] = []
  await ensureArchive({ jars, archive: join(jars, 'java.jsa') }, (line) => lines.push(line))
  expect(lines.at(-1)).toContain('it starts without an archive of its classes, because')
  expect(await readdir(jars)).toEqual(['broken.jar'])
})
