import type { HttpBindings } from '@hono/node-server'
import * as z from 'zod'
import { defineSettings, integerSetting } from '#config'

const settingsSchema = z.object({
  /** The operator's own proxies that a request passes. Each of them appends its client's address to X-Forwarded-For: 1 behind the router. */
  TRUSTED_PROXIES: integerSetting({ min: 0, max: 10, default: 0 }),
})

/** How many entries of X-Forwarded-For, from the right, the operator's own proxies wrote. Throws a ConfigError. */
export const trustedProxies = defineSettings(settingsSchema, ({ TRUSTED_PROXIES }) => TRUSTED_PROXIES)

type Incoming = HttpBindings['incoming'] | undefined

/** The source under which a request is counted: the client's network, or `in process`. */
export function originOf(incoming: Incoming): string {
  const address = addressOf(incoming)
  return address === undefined ? 'in process' : networkOf(address)
}

/** The client's address; undefined for a request that did not come over HTTP. */
export function addressOf(incoming: Incoming): string | undefined {
  if (!incoming) return undefined
  const hops = trustedProxies()
  const forwarded = hops > 0 ? incoming.headers['x-forwarded-for'] : undefined
  const entries = forwarded
    ?.toString()
    .split(',')
    .map((entry) => entry.trim())
  // The outermost of these proxies wrote this entry. Clients can forge all entries to its left. With fewer entries than proxies, the request has
  // passed only some of the proxies, and the outermost of those wrote the first entry.
  return entries?.at(-Math.min(hops, entries.length)) || incoming.socket.remoteAddress
}

/** The /64 network of an IPv6 address, since one client has all of that network's addresses (RFC 6177); an IPv4 address as it is. */
export function networkOf(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address
  const [head = '', tail = ''] = address.split('::')
  const groups = head.split(':').filter((group) => group !== '')
  const hidden = address.includes('::') ? 8 - groups.length - tail.split(':').filter((group) => group !== '').length : 0
  return [...groups, ...Array<string>(hidden).fill('0')].slice(0, 4).join(':')
}
