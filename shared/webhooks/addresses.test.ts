import { describe, expect, it } from 'vitest'
import { isPublicAddress, isPublicHost } from './addresses.ts'

describe('an address', () => {
  it.each([
    '8.8.8.8',
    '1.1.1.1',
    '100.63.255.255',
    '100.128.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '223.255.255.255',
    '2606:4700:4700::1111',
    '2a00::1',
    '2001:4860:4860::8888',
  ])('of the internet is public: %s', (address) => {
    expect(isPublicAddress(address)).toBe(true)
  })

  it.each([
    ['unspecified', '0.0.0.0'],
    ['of this network', '0.1.2.3'],
    ['private', '10.0.0.1'],
    ['private', '172.16.0.1'],
    ['private', '172.31.255.255'],
    ['private', '192.168.255.255'],
    ['of a carrier', '100.64.0.1'],
    ['of a carrier', '100.127.255.255'],
    ['loopback', '127.0.0.1'],
    ['loopback', '127.255.255.255'],
    ['link-local, of cloud metadata', '169.254.169.254'],
    ['of cloud metadata, public by its number alone', '168.63.129.16'],
    ['for protocols', '192.0.0.8'],
    ['for documentation', '192.0.2.1'],
    ['for benchmarks', '198.18.0.1'],
    ['for benchmarks', '198.19.255.255'],
    ['for documentation', '198.51.100.1'],
    ['for documentation', '203.0.113.255'],
    ['multicast', '224.0.0.1'],
    ['multicast', '239.255.255.255'],
    ['reserved', '240.0.0.1'],
    ['broadcast', '255.255.255.255'],
    ['unspecified', '::'],
    ['loopback', '::1'],
    ['IPv4-compatible', '::7f00:1'],
    ['IPv4-mapped loopback', '::ffff:127.0.0.1'],
    ['IPv4-mapped loopback', '::ffff:7f00:1'],
    ['IPv4-mapped private', '::ffff:10.0.0.1'],
    ['IPv4-mapped', '::ffff:8.8.8.8'],
    ['NAT64', '64:ff9b::a00:1'],
    ['NAT64, local', '64:ff9b:1::a00:1'],
    ['discarded', '100::1'],
    ['Teredo', '2001::1'],
    ['for documentation', '2001:db8::1'],
    ['6to4', '2002:a00:1::1'],
    ['for documentation', '3fff::1'],
    ['unique-local', 'fc00::1'],
    ['unique-local', 'fd12:3456::1'],
    ['link-local', 'fe80::1'],
    ['link-local with a zone', 'fe80::1%eth0'],
    ['with a zone', '2a00::1%eth0'],
    ['site-local', 'fec0::1'],
    ['multicast', 'ff02::1'],
    ['none', 'example.com'],
    ['none', ''],
    ['none', '256.1.1.1'],
    ['none', '127.1'],
  ])('that is %s is not: %s', (_, address) => {
    expect(isPublicAddress(address)).toBe(false)
  })
})

describe('the host of a URL', () => {
  it.each([
    'example.com',
    'example.com.',
    'xn--bcher-kva.example',
    '8.8.8.8',
    '134744072',
    '[2a00::1]',
    'localhost.com',
    'my-local.net',
    '10.example.com',
  ])('may be public: %s', (host) => {
    expect(isPublicHost(new URL(`http://${host}/`))).toBe(true)
  })

  it.each([
    'localhost',
    'LOCALHOST',
    'localhost.',
    'a.localhost',
    'redis',
    'printer.local',
    'metadata.google.internal',
    'nas.home.arpa',
    'host.localdomain',
    '127.0.0.1',
    '127.1',
    '0x7f.1',
    '0177.0.0.1',
    '2130706433',
    '0',
    '%31%32%37.0.0.1',
    '①②⑦.0.0.1',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '[fd00::1]',
  ])('is not, however it is written: %s', (host) => {
    expect(isPublicHost(new URL(`http://${host}/`))).toBe(false)
  })
})
