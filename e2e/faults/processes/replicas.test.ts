import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { environment } from '#config'
import { createHttpServer } from '#function/http-server'
import { expectConsistent, newProduct, sql } from '#testing'
import { buildOfAll } from '#testing/builds'
import { createRouter } from '../../../infra/router/router.ts'
import { createClient } from '../client.ts'
import { listeningUrl, type Started, startNode } from '../processes.ts'

// A function runs several times behind the router, like containers of one name: with the same port, and an address each.

const LIMITS = { timeoutMs: 6_000, maxBodyBytes: 1024 * 1024 }
/** The pause of each client after an answer: processes that start and end meanwhile need the machine too. */
const PAUSE_MS = 10
/** The drain delay of a stopping replica: longer than the router can be without CPU time on a busy machine, so that the router notices it. */
const DRAIN_DELAY_MS = '1000'
const [ONE, TWO] = ['127.0.0.2', '127.0.0.3'] as const

let dist: URL
const client = createClient(16)

beforeAll(async () => {
  dist = (await buildOfAll()).dist
}, 120_000)

afterAll(async () => {
  await client.close()
  await expectConsistent()
})

async function startReplica(address: string, port: string): Promise<{ started: Started; port: string }> {
  const { DATABASE_URL = '' } = environment()
  const file = fileURLToPath(new URL('functions/reserve-stock/index.mjs', dist))
  const started = startNode(file, { DATABASE_URL, HOST: address, PORT: port, RATE_LIMIT: '0', DRAIN_DELAY_MS })
  onTestFinished(async () => {
    started.process.kill('SIGKILL')
    await started.exit
  })
  return { started, port: new URL(await listeningUrl(started)).port }
}

/** Routes reserve-stock to these upstreams. `resolve` may return any addresses for a name at any time. */
async function routeTo(upstreams: string[], resolve: () => Promise<readonly string[]> = async () => []) {
  const target = { upstreams: upstreams.map((url) => new URL(url)) }
  const router = createRouter({
    routes: [{ name: 'reserve-stock', method: 'POST', path: '/v1/reservations', ...LIMITS, target }],
    openapi: {},
    resolve,
  })
  const server = createHttpServer(router.listener)
  const url = await server.listen(0, '127.0.0.1')
  onTestFinished(async () => {
    await server.close(0)
    await router.close()
  })
  return url
}

const orderOf = (productId: string) => ({
  path: '/v1/reservations',
  body: { lines: [{ productId, quantity: 1 }] },
  key: randomUUID(),
})

describe('a replica', () => {
  it('that is replaced, time after time, costs no request anything', async () => {
    const { id } = await newProduct({ initialStock: 1_000_000 })
    let { started, port } = await startReplica(ONE, '0')
    const addresses = new Set<string>([ONE])
    const url = await routeTo([`http://reserve-stock.internal:${port}`], async () => [...addresses])
    const statuses: Record<string, number> = {}
    let sent = 0
    let isOver = false
    const load = Array.from({ length: 16 }, async () => {
      while (!isOver) {
        sent += 1
        // Without a key: the router may not send any of them twice.
        const { key: _, ...order } = orderOf(id)
        const status = (await client.send(url, order))?.status ?? 'none'
        statuses[status] = (statuses[status] ?? 0) + 1
        await sleep(PAUSE_MS)
      }
    })
    const sentSince = async (count: number) => {
      const from = sent
      while (sent < from + count) await client.send(url, orderOf(id))
    }
    for (const [last, next] of [
      [ONE, TWO],
      [TWO, ONE],
      [ONE, TWO],
      [TWO, ONE],
    ] as const) {
      const replacement = await startReplica(next, port)
      addresses.add(next)
      await sentSince(200)
      started.process.kill('SIGTERM')
      expect(await started.exit).toBe(0)
      addresses.delete(last)
      started = replacement.started
    }
    isOver = true
    await Promise.all(load)
    expect(statuses).toEqual({ 201: sent })
    const [{ count } = { count: 0 }] = await sql`select count(*)::int as count from reservations`
    expect(count).toBeGreaterThanOrEqual(sent)
  }, 60_000)

  it('that is killed after its commit and before its answer: the client gets that answer, from another one', async () => {
    const { id } = await newProduct({ initialStock: 5 })
    const [one, two] = await Promise.all([startReplica(ONE, '0'), startReplica(TWO, '0')])
    let killed = 0
    const killFirst = ({ started }: typeof one) => {
      killed += 1
      return killed === 1 && started.process.kill('SIGKILL')
    }
    const url = await routeTo([
      await killOnAnswer(ONE, one.port, () => killFirst(one)),
      await killOnAnswer(TWO, two.port, () => killFirst(two)),
    ])
    const order = orderOf(id)
    const answer = await client.send(url, order)
    expect(answer).toMatchObject({ status: 201, isReplay: true })
    expect([one, two].filter(({ started }) => started.process.killed).length).toBe(1)
    expect(await sql`select count(*)::int as count from reservation_lines where product_id = ${id}`).toEqual([
      { count: 1 },
    ])
    expect(await client.send(url, order)).toMatchObject({ status: 201, isReplay: true, text: answer?.text })
  })
})

/** A proxy between the router and a replica. When the first bytes of an answer arrive, `kill` decides whether they are lost. */
async function killOnAnswer(address: string, port: string, kill: () => boolean): Promise<string> {
  const server = createServer((socket) => {
    const replica = connect(Number(port), address)
    const end = () => {
      socket.destroy()
      replica.destroy()
    }
    for (const side of [socket, replica]) side.on('error', end).on('close', end)
    socket.pipe(replica)
    replica.on('data', (bytes) => (kill() ? end() : socket.write(bytes)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
