import { expect, onTestFinished, test, vi } from 'vitest'
import { createUpstreams, type Rotation, skipForAMoment, type Upstream } from './upstreams.ts'

function rotationOf(...urls: string[]): Rotation {
  const upstreams = createUpstreams()
  onTestFinished(() => upstreams.close())
  return upstreams.rotation(urls.map((url) => new URL(url)))
}

const ONE = 'http://one.internal:3000'
const TWO = 'http://two.internal:3000'

function turns(next: Rotation, count: number): Array<string | undefined> {
  return Array.from({ length: count }, () => next()?.origin)
}

function upstreamOf(next: Rotation, origin: string): Upstream {
  const found = [next(), next()].find((upstream) => upstream?.origin === origin)
  if (!found) throw new Error(`${origin} is not in the rotation`)
  return found
}

test('upstreams take turns', () => {
  expect(turns(rotationOf(ONE, TWO), 4)).toEqual([TWO, ONE, TWO, ONE])
})

test('one that refused is passed over for at most 750 ms', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const next = rotationOf(ONE, TWO)
  skipForAMoment(upstreamOf(next, ONE))
  expect(new Set(turns(next, 4))).toEqual(new Set([TWO]))
  vi.advanceTimersByTime(750)
  expect(new Set(turns(next, 4))).toEqual(new Set([ONE, TWO]))
})

test('with all of them refusing, they still take turns: one may be back', () => {
  const next = rotationOf(ONE, TWO)
  for (const origin of [ONE, TWO]) skipForAMoment(upstreamOf(next, origin))
  expect(new Set(turns(next, 4))).toEqual(new Set([ONE, TWO]))
})

test('a second try goes elsewhere where it can, else to the same one', () => {
  const two = rotationOf(ONE, TWO)
  const tried = upstreamOf(two, ONE)
  expect([two(tried)?.origin, two(tried)?.origin]).toEqual([TWO, TWO])
  const alone = rotationOf(ONE)
  expect(alone(alone())?.origin).toBe(ONE)
})

test('a full one is passed over, and with all of them full there is none', () => {
  const next = rotationOf(ONE, TWO)
  upstreamOf(next, ONE).inFlight = 1_024
  expect(turns(next, 2)).toEqual([TWO, TWO])
  upstreamOf(next, TWO).inFlight = 1_024
  expect(next()).toBeUndefined()
})

test('routes to the same origin share its sockets', () => {
  const upstreams = createUpstreams()
  onTestFinished(() => upstreams.close())
  const [first, second] = [upstreams.rotation([new URL(ONE)]), upstreams.rotation([new URL(`${ONE}/`)])]
  expect(first()).toBe(second())
})

test.each(['http://one/base', 'http://one/?q', 'http://user@one/', 'ftp://one/'])('%s is no upstream', (url) => {
  expect(() => rotationOf(url)).toThrow(/http\(s\) origin/)
})
