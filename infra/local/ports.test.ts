import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { promisify } from 'node:util'
import { afterEach, expect, test } from 'vitest'
import { checkThatPortIsFree, freePort } from './ports.ts'

const host = '127.0.0.1'
const servers = new Set<ReturnType<typeof createServer>>()

afterEach(() => {
  for (const server of servers) server.close()
  servers.clear()
})

async function take(port: number): Promise<void> {
  const server = createServer()
  servers.add(server)
  await once(server.listen(port, host), 'listening')
}

test('free ports are all different, and below those of outgoing connections', async () => {
  const ports = await Promise.all(Array.from({ length: 50 }, freePort))
  expect(new Set(ports).size).toBe(50)
  for (const port of ports) expect(port >= 20_000 && port < 32_768).toBe(true)
})

test('a port that this process was given is given to no other', async () => {
  const port = await freePort()
  const file = JSON.stringify(new URL('./ports.ts', import.meta.url).href)
  // The other process tries this port first.
  const script = `
    import crypto from 'node:crypto'
    import { syncBuiltinESMExports } from 'node:module'
    crypto.randomInt = () => ${port - 20_000}
    syncBuiltinESMExports()
    const { freePort } = await import(${file})
    console.log(await freePort())`
  const args = ['--import', 'tsx', '--input-type=module', '-e', script]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  const given = Number(stdout)
  expect(given >= 20_000 && given < 32_768).toBe(true)
  expect(given).not.toBe(port)
})

test('a taken port is told of with what to do', async () => {
  const port = await freePort()
  await expect(checkThatPortIsFree({ host, port })).resolves.toBeUndefined()
  await take(port)
  await expect(checkThatPortIsFree({ host, port })).rejects.toThrow(
    `Port ${port} on 127.0.0.1 is taken: stop what uses it, or set PORT to another one.`,
  )
})
