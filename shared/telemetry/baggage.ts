import * as z from 'zod'
import { defineSettings } from '#config'

const KEYS_MAX = 8
/** A key is a token, which has no percent-encoding: https://www.w3.org/TR/baggage/#key */
const KEY = String.raw`[\w!#$%&'*+.^\x60|~-]{1,64}`
const KEYS = new RegExp(String.raw`^\s*${KEY}(\s*,\s*${KEY}){0,${KEYS_MAX - 1}}\s*$`)

const settingsSchema = z.object({
  /** The keys of a client's baggage that are passed on with everything that its request causes. The most wanted keys come first. */
  BAGGAGE_KEYS: z
    .string()
    .regex(KEYS, `must be up to ${KEYS_MAX} keys, of letters, digits and !#$%&'*+-.^_\`|~, with commas between`)
    .optional(),
})

/** Throws a ConfigError. */
export const baggageKeys = defineSettings(settingsSchema, ({ BAGGAGE_KEYS }): readonly string[] => [
  ...new Set(BAGGAGE_KEYS?.split(',').map((key) => key.trim())),
])

/** The most that is read, and the least that https://www.w3.org/TR/baggage/#limits requires to be passed on. A longer header is dropped whole. */
const HEADER_LENGTH_MAX = 8_192
const MEMBERS_MAX = 64
/** Enough for an id or a name. The value is kept with each event: longer values are data. */
const VALUE_LENGTH_MAX = 128
/** As long as a trace state may be. */
const BAGGAGE_LENGTH_MAX = 512
/** Each character is a `baggage-octet`, or an octet that is percent-encoded: https://www.w3.org/TR/baggage/#value */
const VALUE = /^(?:[!#$&-+\--:<-[\]-~]|%[\dA-Fa-f]{2})*$/

/**
 * The part of a `baggage` header that may be passed on, in the header's own form: the entries with the keys of BAGGAGE_KEYS, in the order of these
 * keys, as they came, without their properties. Leaves out entries that are malformed, too long, or beyond 512 bytes in total. If a key occurs
 * several times, the last entry counts.
 */
export function baggageOf(header: string | null | undefined): string | undefined {
  if (!header || header.length > HEADER_LENGTH_MAX) return undefined
  const keys = baggageKeys()
  if (keys.length === 0) return undefined
  const values = new Map<string, string>()
  for (const member of header.split(',', MEMBERS_MAX)) {
    const at = member.indexOf('=')
    const key = member.slice(0, Math.max(at, 0)).trim()
    if (!keys.includes(key)) continue
    const end = member.indexOf(';', at)
    const value = member.slice(at + 1, end < 0 ? undefined : end).trim()
    if (value.length <= VALUE_LENGTH_MAX && VALUE.test(value)) values.set(key, value)
  }
  let kept: string | undefined
  for (const key of keys) {
    const value = values.get(key)
    if (value === undefined) continue
    const more = kept === undefined ? `${key}=${value}` : `${kept},${key}=${value}`
    if (more.length <= BAGGAGE_LENGTH_MAX) kept = more
  }
  return kept
}
