import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { logger } from './log.ts'
import { countSecurityEvent, logRepeated, securityEvent } from './security.ts'

let told: object[]

beforeEach(() => {
  vi.useFakeTimers()
  told = []
  vi.spyOn(logger(), 'info').mockImplementation((entry: unknown) => {
    told.push(entry as object)
  })
})
afterEach(() => {
  // Forgets the events that have not come again.
  logRepeated()
  logRepeated()
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const refused = (origin: string) => countSecurityEvent('unauthenticated', { origin })
const MINUTE = 60_000

describe('security events', () => {
  it('that are made by hand are told one by one', () => {
    for (const id of ['a', 'b']) securityEvent('api_key_made', { actor: 'api-key:x', api_key_id: id })
    expect(told).toEqual([
      { security: 'api_key_made', actor: 'api-key:x', api_key_id: 'a' },
      { security: 'api_key_made', actor: 'api-key:x', api_key_id: 'b' },
    ])
  })

  it('that come again and again are told at once, and then once a minute with how many there were', () => {
    for (let count = 0; count < 1_000; count++) refused('192.0.2.1')
    refused('192.0.2.2')
    expect(told).toEqual([
      { security: 'unauthenticated', origin: '192.0.2.1' },
      { security: 'unauthenticated', origin: '192.0.2.2' },
    ])
    vi.advanceTimersByTime(MINUTE)
    expect(told.slice(2)).toEqual([{ security: 'unauthenticated', origin: '192.0.2.1', repeated: 999 }])
    refused('192.0.2.1')
    refused('192.0.2.1')
    vi.advanceTimersByTime(MINUTE)
    expect(told.slice(3)).toEqual([{ security: 'unauthenticated', origin: '192.0.2.1', repeated: 2 }])
    vi.advanceTimersByTime(2 * MINUTE)
    refused('192.0.2.1')
    expect(told.slice(4)).toEqual([{ security: 'unauthenticated', origin: '192.0.2.1' }])
  })

  it('of more origins than a thousand are counted together past that', () => {
    for (let count = 0; count < 5_000; count++) refused(`192.0.2.${count}`)
    expect(told).toHaveLength(1_000)
    vi.advanceTimersByTime(MINUTE)
    expect(told.slice(1_000)).toEqual([{ security: 'unauthenticated', by: 'others', repeated: 4_000 }])
  })

  it('are told when the process ends, as far as they were only counted', () => {
    refused('192.0.2.1')
    refused('192.0.2.1')
    logRepeated()
    expect(told).toHaveLength(2)
  })
})
