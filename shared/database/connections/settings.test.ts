import { afterEach, describe, expect, it } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { databaseSettings, serverUrls } from './settings.ts'

const { DATABASE_URL: home } = environment()

afterEach(() => {
  overrideEnvironment({ DATABASE_URL: home })
})

describe('DATABASE_URL', () => {
  it('names one server, or several that differ in host and port alone', () => {
    expect(serverUrls('postgres://u:p@one:5432/stock?sslmode=require')).toEqual([
      'postgres://u:p@one:5432/stock?sslmode=require',
    ])
    expect(serverUrls('postgres://u:p,w@one:5432,[::1]:5433,three/stock')).toEqual([
      'postgres://u:p,w@one:5432/stock',
      'postgres://u:p,w@[::1]:5433/stock',
      'postgres://u:p,w@three/stock',
    ])
  })

  it.each([
    'mysql://u@one/stock',
    'one:5432/stock',
    'postgres://',
    'postgres://u@/stock',
    'postgres://one,/stock',
    'postgres://one,two:port/stock',
  ])('is refused with a line that says what it must be: %s', (url) => {
    overrideEnvironment({ DATABASE_URL: url })
    expect(() => databaseSettings()).toThrow('DATABASE_URL: must be a postgres:// URL')
  })
})
