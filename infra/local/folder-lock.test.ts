import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { bundleOf } from '#testing/builds'
import { FolderInUse, lockFolder } from './folder-lock.ts'
import { birthOf } from './processes.ts'
import { readStackFile, removeStackFile, writeStackFile } from './stack-file.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'folder-lock-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const stack = {
  routerUrl: 'http://127.0.0.1:3000',
  metricsUrl: 'http://127.0.0.1:9464/metrics',
  databaseUrl: 'postgres://postgres:secret@127.0.0.1:5432/stock',
  databaseReplicaUrl: null,
  pids: { node: 1, primary: 2, replica: null },
}

test('a folder is held once, and free again after release', async () => {
  const lock = await lockFolder(folder)
  await expect(lockFolder(folder, 0)).rejects.toThrow(`${folder} is in use by process ${process.pid}`)
  await lock.release()
  const again = await lockFolder(folder, 0)
  await again.release()
  expect(await readdir(folder)).toEqual([])
})

test('of many that claim at once, one holds the folder at a time and every one gets it', async () => {
  let holders = 0
  const claims = Array.from({ length: 8 }, async () => {
    const lock = await lockFolder(folder, 20_000)
    holders++
    expect(holders).toBe(1)
    await new Promise((resolve) => setImmediate(resolve))
    holders--
    await lock.release()
  })
  await Promise.all(claims)
}, 30_000)

test('a holder that was killed holds nothing', async () => {
  const file = await bundleOf(new URL('./testing/folder-lock-fixture.ts', import.meta.url))
  const holder = spawn(process.execPath, [file, folder])
  try {
    await once(holder.stdout, 'data')
    await expect(lockFolder(folder, 0)).rejects.toMatchObject({ pid: holder.pid })
  } finally {
    holder.kill('SIGKILL')
    await once(holder, 'exit')
  }
  await (await lockFolder(folder, 0)).release()
}, 20_000)

test('a stranger that got the id of a dead holder holds nothing', async () => {
  await writeFile(join(folder, `lock.${process.ppid}.0123456789ab.x`), '')
  await (await lockFolder(folder, 0)).release()
  await writeFile(join(folder, `lock.${process.ppid}.${birthOf(process.ppid)}.x`), '')
  await expect(lockFolder(folder, 0)).rejects.toBeInstanceOf(FolderInUse)
})

test('a holder that is stopping is waited for, one whose stack is up is not', async () => {
  const lock = await lockFolder(folder)
  await writeStackFile(folder, stack)
  await expect(lockFolder(folder)).rejects.toBeInstanceOf(FolderInUse)
  await removeStackFile(folder)
  const next = lockFolder(folder)
  await lock.release()
  await (await next).release()
})

test('stack.json is replaced as a whole and readable by its owner alone', async () => {
  await writeStackFile(folder, { ...stack, routerUrl: 'http://127.0.0.1:1' })
  await writeStackFile(folder, stack)
  expect(await readdir(folder)).toEqual(['stack.json'])
  const path = join(folder, 'stack.json')
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(stack)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
})

test('a stack is up while the process that wrote stack.json holds the folder, and not once it was killed', async () => {
  const lock = await lockFolder(folder)
  const own = { ...stack, pids: { ...stack.pids, node: process.pid } }
  await writeStackFile(folder, own)
  expect(await readStackFile(folder)).toEqual(own)
  await lock.release()
  expect(await readStackFile(folder)).toBeUndefined()
})
