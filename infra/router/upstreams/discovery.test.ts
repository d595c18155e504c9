import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { ask, serveOn, signal } from '../testing/fixtures.ts'
import { routerTo } from '../testing/proxy-fixtures.ts'
import type { Resolve } from './origin.ts'
import { createUpstreams } from './upstreams.ts'

// Only `performance` is frozen, which measures how old a look-up is. Sockets and timers run as usual.
beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())
const passMs = (ms: number) => void vi.advanceTimersByTime(ms)

/** A resolver whose answers the test sets: addresses, or an error code. */
function resolver(answer: string[] | string) {
  const state = { answer, asked: 0 }
  const resolve: Resolve = async () => {
    state.asked += 1
    if (typeof state.answer !== 'string') return state.answer
    throw Object.assign(new Error(state.answer), { code: state.answer })
  }
  return { state, resolve }
}

/** Listens on the same port of several loopback addresses, as replicas do. Each answers with its address, unless a handler is given. */
async function replicas(addresses: string[], handler?: (req: IncomingMessage, res: ServerResponse) => void) {
  let port = 0
  for (const address of addresses) {
    const server = createServer(handler ?? ((_req, res) => res.end(address)))
    await serveOn(server, port, address)
    port = (server.address() as AddressInfo).port
  }
  return new URL(`http://things.internal:${port}`)
}

async function answersOf(url: string, count: number): Promise<string[]> {
  const answers: string[] = []
  for (let i = 0; i < count; i += 1) answers.push((await ask(url, '/thing')).text)
  return answers
}

/** Makes the router look up the name, and waits until that is over. The request that finds the name out of date does not wait for it. */
async function noticeIn(url: string, ms: number) {
  passMs(ms)
  await ask(url, '/thing')
}

const [TWO, THREE, FOUR] = ['127.0.0.2', '127.0.0.3', '127.0.0.4']

describe('the addresses of a name', () => {
  test('share its requests, which bear the name', async () => {
    const hosts: Array<string | undefined> = []
    const origin = await replicas([TWO, THREE, FOUR], (req, res) => {
      hosts.push(req.headers.host)
      res.end(req.socket.localAddress)
    })
    const { state, resolve } = resolver([TWO, THREE, FOUR])
    const { url } = await routerTo([origin], {}, resolve)
    const answers = await answersOf(url, 6)
    expect(answers.sort()).toEqual([TWO, TWO, THREE, THREE, FOUR, FOUR])
    expect(new Set(hosts)).toEqual(new Set([origin.host]))
    expect(state.asked).toBe(1)
  })

  test('come and go without a restart', async () => {
    const origin = await replicas([TWO, THREE])
    const { state, resolve } = resolver([TWO])
    const { url } = await routerTo([origin], {}, resolve)
    expect(await answersOf(url, 2)).toEqual([TWO, TWO])
    state.answer = [TWO, THREE]
    await noticeIn(url, 1_001)
    expect((await answersOf(url, 4)).sort()).toEqual([TWO, TWO, THREE, THREE])
    state.answer = [THREE]
    await noticeIn(url, 1_001)
    expect(await answersOf(url, 2)).toEqual([THREE, THREE])
  })

  test('that are gone finish what they have in flight, and lose their connections then', async () => {
    const arrived = signal<ServerResponse>()
    const origin = await replicas([TWO], (_req, res) => arrived.resolve(res))
    await serveOn(
      createServer((_req, res) => void res.end(THREE)),
      Number(origin.port),
      THREE,
    )
    const { state, resolve } = resolver([TWO])
    const { url } = await routerTo([origin], {}, resolve)
    const answer = ask(url, '/thing')
    const held = await arrived.promise
    state.answer = [THREE]
    passMs(10_001)
    expect((await ask(url, '/thing')).text).toBe(THREE)
    const closed = once(held.req.socket, 'close')
    held.end('in the end')
    expect((await answer).text).toBe('in the end')
    await closed
  })

  test('are looked up anew when one refuses, and the request waits for it if there is no other', async () => {
    const origin = await replicas([THREE])
    const { state, resolve } = resolver([TWO])
    const { url } = await routerTo([origin], {}, resolve)
    expect((await ask(url, '/thing')).status).toBe(503)
    state.answer = [THREE]
    passMs(101)
    const answer = await ask(url, '/thing', { method: 'POST', body: 'once' })
    expect([answer.status, answer.text]).toEqual([200, THREE])
  })
})

describe('a look-up', () => {
  const upstreamsOf = (resolve: Resolve) => {
    const upstreams = createUpstreams(resolve)
    onTestFinished(() => upstreams.close())
    return upstreams.rotation([new URL('http://things.internal:3000')])
  }

  test('is waited for the first time, and after a while without any; else it goes on beside the requests', async () => {
    const { resolve } = resolver([TWO])
    const rotation = upstreamsOf(resolve)
    await rotation.prepare()
    expect(rotation.next()?.address).toBe(TWO)
    passMs(1_001)
    expect(rotation.prepare()).toBeUndefined()
    await nextTurn()
    passMs(10_001)
    expect(rotation.prepare()).toBeInstanceOf(Promise)
  })

  test('is one for all who ask meanwhile, and none follows within a second', async () => {
    const answer = signal<string[]>()
    let asked = 0
    const rotation = upstreamsOf(() => {
      asked += 1
      return answer.promise
    })
    const waiting = [rotation.prepare(), rotation.prepare(), rotation.prepare()]
    answer.resolve([TWO])
    await Promise.all(waiting)
    passMs(999)
    expect(rotation.prepare()).toBeUndefined()
    expect(asked).toBe(1)
  })

  test('that does not end is waited for no longer than 2 s', async () => {
    const rotation = upstreamsOf(() => new Promise(() => {}))
    vi.useRealTimers()
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout'] })
    const waiting = rotation.prepare()
    vi.advanceTimersByTime(2_000)
    await waiting
    expect([rotation.next(), rotation.missing()]).toEqual([undefined, expect.any(String)])
  })

  test.each([
    ['fails for an hour keeps the addresses', 'EAI_AGAIN', 3_600_000, true],
    ['does not know the name keeps them for a moment', 'ENOTFOUND', 9_000, true],
    ['does not know the name for 10 s gives them up', 'ENOTFOUND', 10_001, false],
  ])('that %s', async (_case, code, ms, isKept) => {
    const { state, resolve } = resolver([TWO])
    const rotation = upstreamsOf(resolve)
    await rotation.prepare()
    state.answer = code
    for (const pause of [20_000, ms]) {
      passMs(pause)
      void rotation.prepare()
      await nextTurn()
    }
    expect(state.asked).toBe(3)
    expect(rotation.next()?.address).toBe(isKept ? TWO : undefined)
  })

  test('finds no more than 64 addresses, and the same ones each time', async () => {
    const all = Array.from({ length: 100 }, (_, i) => `10.0.0.${i + 1}`)
    const { state, resolve } = resolver(all)
    const rotation = upstreamsOf(resolve)
    await rotation.prepare()
    const turns = () => new Set(Array.from({ length: 200 }, () => rotation.next()))
    const first = turns()
    expect(first.size).toBe(64)
    state.answer = all.toReversed()
    passMs(10_001)
    await rotation.prepare()
    expect(turns()).toEqual(first)
  })
})

test('the names of /etc/hosts are known', async () => {
  const origin = await replicas(['127.0.0.1'])
  const { url } = await routerTo([new URL(`http://localhost:${origin.port}`)])
  expect((await ask(url, '/thing')).text).toBe('127.0.0.1')
})
