import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import { baggageKeys, baggageOf } from './baggage.ts'

const BAGGAGE = /^(?:tenant=[!#-+\--:<-[\]-~]*)?,?(?:experiment=[!#-+\--:<-[\]-~]*)?$/

beforeEach(() => overrideEnvironment({ BAGGAGE_KEYS: 'tenant, experiment' }))
afterEach(() => overrideEnvironment({ BAGGAGE_KEYS: undefined }))

describe('of baggage', () => {
  it('nothing goes on where no key is named', () => {
    overrideEnvironment({ BAGGAGE_KEYS: undefined })
    expect(baggageOf('tenant=1')).toBeUndefined()
  })

  it.each([
    ['the entries with the keys, in their order', 'experiment=b,customer=7,tenant=1', 'tenant=1,experiment=b'],
    ['nothing where no entry has one', 'customer=7,Tenant=1,tenants=1', undefined],
    ['no space around what it is made of', ' \ttenant\t = \t1 , experiment =b', 'tenant=1,experiment=b'],
    ['no properties', 'tenant=1;ttl=30;k = "v",experiment=b ;p', 'tenant=1,experiment=b'],
    ['values as they came', 'tenant=D%C3%BC%20=%2c%ff/?', 'tenant=D%C3%BC%20=%2c%ff/?'],
    ['an empty value', 'tenant=,experiment=b', 'tenant=,experiment=b'],
    ['the last of several with a key', 'tenant=1,experiment=b,tenant=2', 'tenant=2,experiment=b'],
    ['a value of 128 bytes', `tenant=${'v'.repeat(128)}`, `tenant=${'v'.repeat(128)}`],
    ['no longer one', `tenant=${'v'.repeat(129)},experiment=b`, 'experiment=b'],
  ])('goes on: %s', (_, header, kept) => expect(baggageOf(header)).toBe(kept))

  it.each([
    '',
    ',,;,=',
    'tenant',
    'tenant;p=1',
    '=tenant',
    'te nant=1',
    't%65nant=1',
    'tenant=a b',
    'tenant="a"',
    'tenant=a\\b',
    'tenant=ü',
    'ténant=1',
    'tenant=\0',
    'tenant=1\r\nx: y',
    'tenant=100%',
    'tenant=%zz',
  ])('what is malformed is left out alone: %j', (member) => {
    expect(baggageOf(member)).toBeUndefined()
    expect(baggageOf(`${member},experiment=b`)).toBe('experiment=b')
  })

  it('as many entries go on as fit into 512 bytes, those first that are named first', () => {
    const keys = Array.from('abcdefgh')
    overrideEnvironment({ BAGGAGE_KEYS: keys.join() })
    const long = 'v'.repeat(128)
    const kept = baggageOf(keys.map((key) => `${key}=${key < 'e' ? long : 1}`).join())
    expect(kept).toBe(`a=${long},b=${long},c=${long},e=1,f=1,g=1,h=1`)
    expect(baggageOf(keys.map((key) => `${key}=${long}`).join())?.length).toBeLessThanOrEqual(512)
  })

  it.each(['x=1,', 'tenant=1,', ' ', '=', '%', ';', ',', '\t=;'])(
    '8,192 bytes are read, and of more nothing goes on: %j',
    (part) => {
      const header = 'tenant=1,'.padEnd(8_192, part)
      expect(baggageOf(header)).toBe('tenant=1')
      expect(baggageOf(`${header} `)).toBeUndefined()
    },
  )

  it('what stands behind 64 others is not read', () => {
    expect(baggageOf(`${'x=1,'.repeat(63)}tenant=1`)).toBe('tenant=1')
    expect(baggageOf(`${'x=1,'.repeat(64)}tenant=1`)).toBeUndefined()
  })

  it('goes on what is baggage, has the keys and fits, whatever came, and what has gone on goes on as it is', () => {
    const piece = fc.constantFrom(
      'tenant',
      'experiment',
      '=',
      '=',
      ',',
      ';',
      ' ',
      '%',
      '%20',
      'ü',
      '"',
      '\\',
      '\0',
      'v'.repeat(100),
    )
    const header = fc.array(piece, { maxLength: 60 }).map((pieces) => `tenant=${pieces.join('')}`)
    fc.assert(
      fc.property(header, (text) => {
        const kept = baggageOf(text) ?? 'tenant='
        return kept.length <= 512 && BAGGAGE.test(kept) && baggageOf(kept) === kept
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('BAGGAGE_KEYS', () => {
  it('names keys once, with commas between', () => {
    overrideEnvironment({ BAGGAGE_KEYS: ' tenant ,com.example/x' })
    expect(baggageKeys).toThrow('BAGGAGE_KEYS: must be up to 8 keys')
    overrideEnvironment({ BAGGAGE_KEYS: ' tenant ,com.example.x,tenant' })
    expect(baggageKeys()).toEqual(['tenant', 'com.example.x'])
  })

  it.each(['a b', 'ä', 'a,,b', ',', 'a=1', 'k'.repeat(65), 'a,b,c,d,e,f,g,h,i'])('is refused as %j', (keys) => {
    overrideEnvironment({ BAGGAGE_KEYS: keys })
    expect(baggageKeys).toThrow('BAGGAGE_KEYS: must be up to 8 keys')
  })
})
