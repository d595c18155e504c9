import { BlockList, isIP } from 'node:net'

/**
 * https://www.iana.org/assignments/iana-ipv4-special-registry, multicast and reserved addresses, and Azure's address for its virtual
 * machines: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
 */
const special4 = blockList('ipv4', [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['168.63.129.16', 32],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
])

/** Global unicast addresses. Loopback, link-local, unique-local, multicast, IPv4-mapped and NAT64 addresses are outside of this block. */
const global6 = blockList('ipv6', [['2000::', 3]])

/** Special blocks within it, by https://www.iana.org/assignments/iana-ipv6-special-registry: protocols (Teredo), documentation, 6to4. */
const special6 = blockList('ipv6', [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
])

/** Names that never resolve to a public address. Other names are checked when they are resolved. */
const PRIVATE_NAME = /(?:^|\.)(?:localhost|localdomain|local|internal|home\.arpa)$/

/** Whether an IP address is public: neither of this machine, nor of a private network, nor for a special purpose. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !special4.check(address)
    case 6:
      // An address with a zone is link-local, and BlockList does not take it.
      return !address.includes('%') && global6.check(address, 'ipv6') && !special6.check(address, 'ipv6')
    default:
      return false
  }
}

/** Whether a URL's host may be public, as far as can be known before it is resolved. */
export function isPublicHost({ hostname }: URL): boolean {
  const literal = addressIn(hostname)
  if (literal !== undefined) return isPublicAddress(literal)
  const name = hostname.replace(/\.$/, '')
  return name.includes('.') && !PRIVATE_NAME.test(name)
}

/** The IP address that is a URL's host; undefined for a name. */
function addressIn(hostname: string): string | undefined {
  const bare = hostname.replace(/^\[(.*)\]$/, '$1')
  return isIP(bare) === 0 ? undefined : bare
}

function blockList(family: 'ipv4' | 'ipv6', subnets: ReadonlyArray<readonly [string, number]>): BlockList {
  const list = new BlockList()
  for (const [address, prefix] of subnets) list.addSubnet(address, prefix, family)
  return list
}
