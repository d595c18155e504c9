import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Upstream } from './origin.ts'
import { createUpstreams, noteAnswer, type Rotation, skipForAMoment } from './upstreams.ts'

function rotationOf(...urls: string[]): Rotation {
  const upstreams = createUpstreams()
  onTestFinished(() => upstreams.close())
  return upstreams.rotation(urls.map((url) => new URL(url)))
}

const [ONE, TWO, THREE] = ['127.0.0.1', '127.0.0.2', '127.0.0.3']
const rotationOver = (...addresses: string[]) => rotationOf(...addresses.map((address) => `http://${address}:1`))

function turns(rotation: Rotation, count: number): Array<string | undefined> {
  return Array.from({ length: count }, () => rotation.next()?.address)
}

function upstreamOf(rotation: Rotation, address: string): Upstream {
  const found = [rotation.next(), rotation.next(), rotation.next()].find((upstream) => upstream?.address === address)
  if (!found) throw new Error(`${address} is not in the rotation`)
  return found
}

test('upstreams take turns', () => {
  expect(turns(rotationOver(ONE, TWO), 4)).toEqual([TWO, ONE, TWO, ONE])
})

test('one that refused is passed over for at most 750 ms', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const rotation = rotationOver(ONE, TWO)
  skipForAMoment(upstreamOf(rotation, ONE))
  expect(new Set(turns(rotation, 4))).toEqual(new Set([TWO]))
  vi.advanceTimersByTime(750)
  expect(new Set(turns(rotation, 4))).toEqual(new Set([ONE, TWO]))
})

describe('one whose time of being passed over is up', () => {
  function back() {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const rotation = rotationOver(ONE, TWO)
    const one = upstreamOf(rotation, ONE)
    skipForAMoment(one)
    vi.advanceTimersByTime(750)
    return { rotation, one }
  }

  test('is tried by one request, and by the others once that one has an answer', () => {
    const { rotation, one } = back()
    expect(turns(rotation, 6).filter((address) => address === ONE)).toEqual([ONE])
    noteAnswer(one, 200, 'keep-alive')
    expect(turns(rotation, 6).filter((address) => address === ONE)).toEqual([ONE, ONE, ONE])
  })

  test('is tried again after 10 s if that one never heard of it', () => {
    const { rotation } = back()
    turns(rotation, 6)
    vi.advanceTimersByTime(10_000)
    expect(turns(rotation, 6).filter((address) => address === ONE)).toEqual([ONE])
  })
})

test('one that closes its connections is going, and is passed over before it refuses', () => {
  const rotation = rotationOver(ONE, TWO)
  noteAnswer(upstreamOf(rotation, ONE), 200, 'close')
  expect(new Set(turns(rotation, 4))).toEqual(new Set([TWO]))
})

test('one that is silent fills up to the level of the others, and no further', () => {
  const rotation = rotationOver(ONE, TWO, THREE)
  const silent = upstreamOf(rotation, ONE)
  for (const address of [TWO, THREE]) upstreamOf(rotation, address).inFlight = 40
  for (let i = 0; i < 300; i += 1) {
    const chosen = rotation.next()
    if (chosen === silent) silent.inFlight += 1
  }
  // Equals take turns, so the silent one gets one more turn at 40.
  expect(silent.inFlight).toBe(41)
})

test('one that only fails is passed over after five answers, and taken back with the first that is none', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const rotation = rotationOver(ONE, TWO)
  const one = upstreamOf(rotation, ONE)
  for (let i = 0; i < 4; i += 1) noteAnswer(one, 503, 'keep-alive')
  expect(turns(rotation, 4)).toContain(ONE)
  noteAnswer(one, 503, 'keep-alive')
  expect(turns(rotation, 4)).not.toContain(ONE)
  vi.advanceTimersByTime(750)
  expect(turns(rotation, 4)).toContain(ONE)
  noteAnswer(one, 503, 'keep-alive')
  expect(turns(rotation, 4)).not.toContain(ONE)
  noteAnswer(one, 404, 'keep-alive')
  expect(turns(rotation, 4)).toContain(ONE)
})

test('with all of them refusing, they still take turns: one may be back', () => {
  const rotation = rotationOver(ONE, TWO)
  for (const address of [ONE, TWO]) skipForAMoment(upstreamOf(rotation, address))
  expect(new Set(turns(rotation, 4))).toEqual(new Set([ONE, TWO]))
})

test('a second try goes elsewhere where it can, else to the same one', () => {
  const two = rotationOver(ONE, TWO)
  const tried = upstreamOf(two, ONE)
  expect([two.next(tried)?.address, two.next(tried)?.address]).toEqual([TWO, TWO])
  const alone = rotationOver(ONE)
  expect(alone.next(alone.next())?.address).toBe(ONE)
})

test('a full one is passed over, and with all of them full there is none', () => {
  const rotation = rotationOver(ONE, TWO)
  upstreamOf(rotation, ONE).inFlight = 1_024
  expect(turns(rotation, 2)).toEqual([TWO, TWO])
  upstreamOf(rotation, TWO).inFlight = 1_024
  expect(rotation.next()).toBeUndefined()
})

test('routes to the same origin share its sockets', () => {
  const upstreams = createUpstreams()
  onTestFinished(() => upstreams.close())
  const [first, second] = ['http://127.0.0.1:1', 'http://127.0.0.1:1/'].map((url) => upstreams.rotation([new URL(url)]))
  expect(first?.next()).toBeDefined()
  expect(first?.next()).toBe(second?.next())
})

test.each(['http://one/base', 'http://one/?q', 'http://user@one/', 'ftp://one/'])('%s is no upstream', (url) => {
  expect(() => rotationOf(url)).toThrow(/http\(s\) origin/)
})
