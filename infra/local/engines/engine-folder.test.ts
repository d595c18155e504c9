import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { birthOf } from '../processes.ts'
import { openFolder } from './engine-folder.ts'

let folder: string
const children: ChildProcess[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'Daten, übrig 库-'))
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

/** Starts a process under the name of a program, with the folder in its command line. */
async function run(program: string): Promise<ChildProcess> {
  // A shell, because it accepts further words after the command that it runs.
  const child = spawn('sh', ['-c', 'read line', `--dir=${folder}/data`], {
    argv0: program,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  children.push(child)
  await once(child, 'spawn')
  return child
}

test('an engine that was left in the folder is ended, and who else names the folder goes on', async () => {
  const [left, editor] = [await run('/usr/bin/redis-server'), await run('/usr/bin/tail')]
  const ended = once(left, 'exit')
  await openFolder('redis', ['redis-server'], folder)
  expect(await ended).toEqual([null, 'SIGKILL'])
  expect(birthOf(editor.pid ?? 0)).toBeDefined()
})
