import { performance } from 'node:perf_hooks'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseJson } from './index.ts'

function refusal(text: string): unknown {
  try {
    return parseJson(text)
  } catch (error) {
    return (error as { issues?: unknown[] }).issues?.[0] ?? error
  }
}

/** Milliseconds that the quickest of some runs takes: the other runs were delayed by something else. */
function quickest(run: () => unknown): number {
  const times = Array.from({ length: 5 }, () => {
    const startedAt = performance.now()
    run()
    return performance.now() - startedAt
  })
  return Math.min(...times)
}

const bytes = 1024 * 1024
const filled = (unit: string, head: string, tail: string) =>
  head +
  Array(Math.floor((bytes - head.length - tail.length) / (unit.length + 1)))
    .fill(unit)
    .join() +
  tail
const members = (count: number) => Array.from({ length: count }, (_, index) => `"k${index}":0`).join()

describe('parseJson', () => {
  it('gives what JSON.parse does', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), fc.constantFrom(undefined, 2), (json, indent) => {
        const text = JSON.stringify(JSON.parse(json), null, indent)
        if (/__proto__|e[-+]\d|\d{15}/.test(text)) return
        expect(parseJson(text)).toEqual(JSON.parse(text))
      }),
    )
  })

  it.each([
    ['{"a":9007199254740993}', 'a'],
    ['[1,-12345678901234567890]', '1'],
    ['{"a":[{"b":10000000000000001}]}', 'a.0.b'],
    ['{"a":1e400}', 'a'],
    ['{"a":1e-400}', 'a'],
    ['{"a":9007199254740990.5}', 'a'],
    ['{"a":0.123456789012345678}', 'a'],
    [`{"a":0.${'0'.repeat(100)}1}`, 'a'],
    ['{"a\\"]}":{"":-1e999}}', 'a"]}.'],
  ])('refuses the number in %s, which would not be kept', (text, path) => {
    expect(refusal(text)).toMatchObject({ path, message: expect.stringContaining('would not be kept exactly') })
  })

  it.each([
    '9007199254740991',
    '-9007199254740992',
    '1e16',
    '-1.5e300',
    '0.1',
    '1.50000000000000000000',
    '0.10000000000000001',
    '1.5e1',
    '0',
    '-0.0',
  ])('takes the number %s', (number) => {
    expect(parseJson(`[${number}]`)).toEqual([Number(number)])
  })

  it('takes digits in texts for texts', () => {
    expect(parseJson('{"9007199254740993":"9007199254740993, \\"1e400"}')).toEqual({
      '9007199254740993': '9007199254740993, "1e400',
    })
  })

  it.each([
    ['{"a":[{"__proto__":1}]}', 'a.0.__proto__'],
    ['{"\\u005f_proto__" : 1}', '__proto__'],
  ])('refuses the name __proto__ in %s', (text, path) => {
    expect(refusal(text)).toEqual({ path, message: 'is not a known member' })
  })

  it('takes __proto__ for a text', () => {
    expect(parseJson('["__proto__",{"a":"__proto__"}]')).toEqual(['__proto__', { a: '__proto__' }])
  })

  it('refuses what is nested deeper than 32 levels', () => {
    expect(parseJson(`${'['.repeat(32)}${']'.repeat(32)}`)).toBeDefined()
    expect(refusal(`${'['.repeat(33)}${']'.repeat(33)}`)).toMatchObject({
      message: 'is nested more than 32 levels deep',
    })
  })

  it.each([
    ['short arrays', filled(`${'['.repeat(28)}${']'.repeat(28)}`, '{"attributes":{"a":[', ']}}'), 'attributes'],
    ['numbers', filled('0', '{"attributes":{"a":[', ']}}'), 'attributes'],
    ['lines', filled('{"sku":"a","quantity":1}', '{"lines":[', ']}'), 'lines'],
    ['empty objects', filled('{}', '[', ']'), '0'],
    ['members', `{${members(80_000)}}`, ''],
    ['members of a member', `{"attributes":{${members(80_000)}}}`, 'attributes'],
  ])('refuses 1 MiB of %s in a fraction of the time that it would take to look at it', (_, text, path) => {
    const refused = refusal(text)
    expect(refused).toMatchObject({ message: 'has more than 10000 elements and members' })
    if (path !== '0') expect(refused).toMatchObject({ path })
    expect(quickest(() => refusal(text))).toBeLessThan(quickest(() => JSON.parse(text)))
  })

  it.each(['{', '[1,]', '{"a":01}', '"', '"\\', '-', '[1e]', "{'a':1}", '\u0000', '{"__proto__', '1 2'])(
    'calls %j malformed',
    (text) => {
      expect(refusal(text)).toMatchObject({ code: 'malformed_json' })
    },
  )
})
