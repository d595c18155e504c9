import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { afterEach, expect, it } from 'vitest'
import { bundleOf } from '#testing/builds'

const flood = await bundleOf(new URL('./log-fixture.ts', import.meta.url))
let child: ChildProcess

function start(stdout: 'pipe' | number): ChildProcess {
  child = fork(flood, {
    stdio: ['ignore', stdout, 'inherit', 'ipc'],
    execArgv: ['--expose-gc'],
  })
  return child
}

afterEach(() => child.kill('SIGKILL'))

/** The outcome of the lines. Fails unless the process then ends when it is asked to. */
async function report(): Promise<{ written: number; dropped: number; grownBytes: number }> {
  const [result] = await once(child, 'message')
  child.send('end')
  expect(await once(child, 'exit')).toEqual([0, null])
  return result
}

it('goes on and ends when nobody reads its lines, in bounded memory, and counts those that it drops', async () => {
  start('pipe')
  const { written, dropped, grownBytes } = await report()
  // 40 MB of lines: a pipe takes 64 KiB, the logger 4 MiB, and the rest is dropped.
  expect(dropped).toBeGreaterThan(written / 2)
  expect(dropped).toBeLessThan(written)
  expect(grownBytes).toBeLessThan(15_000_000)
})

it('goes on and ends when its reader has gone', async () => {
  start('pipe').stdout?.destroy()
  const { written, dropped } = await report()
  expect(dropped).toBeGreaterThan(written / 2)
})

it('goes on and ends when the disk that its lines go to is full', async () => {
  const full = await open('/dev/full', 'w')
  start(full.fd)
  const { written, dropped } = await report()
  await full.close()
  expect(dropped).toBeGreaterThan(written / 2)
})

it('loses no line that is read, however late', async () => {
  const { stdout } = start('pipe')
  const [output, { dropped }] = await Promise.all([text(stdout ?? expect.fail()), report()])
  const lines = output.trimEnd().split('\n')
  expect(lines.length + dropped).toBe(100_001)
  for (const line of lines) expect(() => JSON.parse(line)).not.toThrow()
})
