import { once } from 'node:events'
import { createServer } from 'node:net'
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

test('free ports are all different, below those of outgoing connections, and passed over once they are taken', async () => {
  const ports = await Promise.all(Array.from({ length: 20 }, freePort))
  expect(new Set(ports).size).toBe(20)
  for (const port of ports) expect(port >= 20_000 && port < 32_768).toBe(true)
  const following = (Math.max(...ports) + 1 - 20_000) % 12_768
  await take(20_000 + following)
  expect(await freePort()).not.toBe(20_000 + following)
})

test('a taken port is told of with what to do', async () => {
  const port = await freePort()
  await expect(checkThatPortIsFree({ host, port })).resolves.toBeUndefined()
  await take(port)
  await expect(checkThatPortIsFree({ host, port })).rejects.toThrow(
    `Port ${port} on 127.0.0.1 is taken: stop what uses it, or set PORT to another one.`,
  )
})
