import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const flood = fileURLToPath(new URL('./log-fixture.ts', import.meta.url))

it('goes on when nobody reads its lines, in bounded memory, and counts those that it drops', async () => {
  const child = fork(flood, {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    execArgv: ['--expose-gc', '--import', 'tsx'],
  })
  try {
    const [{ written, dropped, grownBytes }] = await once(child, 'message')
    // 40 MB of lines: a pipe takes 64 KiB, the logger 4 MiB, and the rest is dropped.
    expect(dropped).toBeGreaterThan(written / 2)
    expect(dropped).toBeLessThan(written)
    expect(grownBytes).toBeLessThan(15_000_000)
  } finally {
    child.kill('SIGKILL')
  }
})
