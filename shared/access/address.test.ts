import { afterEach, describe, expect, it } from 'vitest'
import { overrideEnvironment } from '#config'
import { addressOf, networkOf, trustedProxies } from './address.ts'

function set(settings: { TRUSTED_PROXIES?: string }): void {
  overrideEnvironment({ TRUSTED_PROXIES: undefined, ...settings })
}

const incomingFrom = (remoteAddress: string, headers: Record<string, string> = {}) =>
  ({ headers, socket: { remoteAddress } }) as never
const forwarded = (entries: string) => addressOf(incomingFrom('10.0.0.1', { 'x-forwarded-for': entries }))

describe('the address of a request', () => {
  afterEach(() => set({}))

  it('is the peer where no proxy is ours, whatever the request says', () => {
    set({})
    expect(addressOf(undefined)).toBeUndefined()
    expect(forwarded('203.0.113.9')).toBe('10.0.0.1')
  })

  it.each([
    ['1', '198.51.100.1, 203.0.113.9', '203.0.113.9'],
    ['2', '198.51.100.1, 203.0.113.9, 10.0.0.2', '203.0.113.9'],
    ['2', '1.1.1.1,2.2.2.2 ,203.0.113.9,10.0.0.2', '203.0.113.9'],
    // This request did not pass the outer proxy.
    ['2', '203.0.113.9', '203.0.113.9'],
    ['3', '203.0.113.9, 10.0.0.2', '203.0.113.9'],
  ])(
    'behind %s proxies of ours and with %j it is %s, which no client can forge',
    (TRUSTED_PROXIES, entries, address) => {
      set({ TRUSTED_PROXIES })
      expect(forwarded(entries)).toBe(address)
      expect(addressOf(incomingFrom('127.0.0.1'))).toBe('127.0.0.1')
    },
  )

  it.each(['-1', '1.5', 'all', '11', '0x1', '1e0'])('a number of %s is refused', (TRUSTED_PROXIES) => {
    set({ TRUSTED_PROXIES })
    expect(trustedProxies).toThrow('TRUSTED_PROXIES')
  })

  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '::ffff:192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8::6', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
  ])('counts with its network: %s with %s', (address, network) => {
    expect(networkOf(address)).toBe(network)
  })
})
