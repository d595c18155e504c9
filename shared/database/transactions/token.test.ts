import { describe, expect, it } from 'vitest'
import { parseToken, systemContext, transaction } from '#database'
import '#testing'
import { justBefore } from './token.ts'

describe('parseToken', () => {
  it('reads timeline and position as hexadecimal', () => {
    expect(parseToken('1-0/3000060')).toEqual({ timeline: 1, lsn: '0/3000060' })
    expect(parseToken('1F-ABCDEF01/FFFFFFFF')).toEqual({ timeline: 31, lsn: 'ABCDEF01/FFFFFFFF' })
  })

  it('reads every token that a commit gives', async () => {
    const context = systemContext('function:test')
    await transaction(context, async (tx) => tx`select 1`)
    expect(parseToken(context.response.consistencyToken ?? '')).toMatchObject({ timeline: 1 })
  })

  it.each([
    '',
    '1',
    '1-',
    '1-0',
    '-0/1',
    '1-0/1 ',
    '1-0/1-2',
    'g-0/1',
    '1-0/123456789',
    "1-0/1'; drop table products",
    '1-a/b',
  ])('refuses %j as a fault of the request', (token) => {
    expect(() => parseToken(token)).toThrow(
      expect.objectContaining({
        code: 'validation_failed',
        issues: [expect.objectContaining({ path: 'Consistency-Token' })],
      }),
    )
  })
})

describe('justBefore', () => {
  it.each([
    ['0/1', '0/0'],
    ['0/0', '0/0'],
    ['1/0', '0/FFFFFFFF'],
    ['AB/CDEF0100', 'AB/CDEF00FF'],
  ])('of %s is %s, on the same timeline', (lsn, before) => {
    expect(justBefore({ timeline: 3, lsn })).toEqual({ timeline: 3, lsn: before })
  })
})
