import type { HttpBindings } from '@hono/node-server'
import * as z from 'zod'
import { defineSettings } from '#config'
import { decimalInteger } from '#input'

const settingsSchema = z.object({
  /** Proxies of our own that a request passes, each of which adds whom it was asked by to X-Forwarded-For: 1 behind the router. */
  TRUSTED_PROXIES: decimalInteger({ min: 0, max: 10 }).optional(),
  /** The same, as it was called when there could be one. */
  TRUST_FORWARDED_FOR: z.enum(['0', '1']).default('0'),
})

/** How many entries of X-Forwarded-For, from the right, are our proxies' own. Throws a ConfigError. */
export const trustedProxies = defineSettings(
  settingsSchema,
  ({ TRUSTED_PROXIES, TRUST_FORWARDED_FOR }) => TRUSTED_PROXIES ?? Number(TRUST_FORWARDED_FOR),
)

type Incoming = HttpBindings['incoming'] | undefined

/** Whom a request comes from, for what is counted by that: the client's network, or `in process`. */
export function originOf(incoming: Incoming): string {
  const address = addressOf(incoming)
  return address === undefined ? 'in process' : networkOf(address)
}

/** Where a request comes from; undefined for one that did not come over HTTP. */
export function addressOf(incoming: Incoming): string | undefined {
  if (!incoming) return undefined
  const hops = trustedProxies()
  const forwarded = hops > 0 ? incoming.headers['x-forwarded-for'] : undefined
  const entries = forwarded
    ?.toString()
    .split(',')
    .map((entry) => entry.trim())
  // The outermost of our proxies wrote it. What is left of it a client can make up. With fewer entries the request did not pass all
  // of our proxies, and the first one is of the outermost that it passed.
  return entries?.at(-Math.min(hops, entries.length)) || incoming.socket.remoteAddress
}

/** Of an IPv6 address the network, of which a single client has all addresses: https://www.rfc-editor.org/rfc/rfc6177 */
export function networkOf(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address
  const [head = '', tail = ''] = address.split('::')
  const groups = head.split(':').filter((group) => group !== '')
  const hidden = address.includes('::') ? 8 - groups.length - tail.split(':').filter((group) => group !== '').length : 0
  return [...groups, ...Array<string>(hidden).fill('0')].slice(0, 4).join(':')
}
