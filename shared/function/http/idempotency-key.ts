import { createHash } from 'node:crypto'
import type { IdempotencyKey } from '#database'
import { invalid } from '#errors'
import { isUpload } from './upload.ts'

const BARE = /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/
/** A string of RFC 8941: https://www.rfc-editor.org/rfc/rfc8941#name-strings */
const QUOTED = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/

/** The request's idempotency key with its fingerprint; undefined if it has none. `"k"` and `k` are one key. */
export function idempotencyKeyOf(
  header: string | null,
  request: { apiKeyId: string; requestId: string; method: string; path: string; query?: unknown; body: unknown },
): IdempotencyKey | undefined {
  if (header === null) return undefined
  const quoted = QUOTED.exec(header)?.[1]
  const key = quoted === undefined ? header : quoted.replaceAll(/\\(["\\])/g, '$1')
  if (!BARE.test(key)) throw invalid('Idempotency-Key', 'must be 1 to 255 visible ASCII characters, bare or quoted')
  const { apiKeyId, requestId, method, path, query = {}, body } = request
  const asked = canonicalJson(query)
  const hash = createHash('sha256').update(`${method} ${path}${asked === '{}' ? '' : `?${asked}`}\n`)
  for (const part of isUpload(body) ? [`${body.type}\n`, ...body.blocks] : [canonicalJson(body)]) hash.update(part)
  return { apiKeyId, key, fingerprint: hash.digest(), requestId }
}

/** The same text for the same JSON, whatever the order of its members, as in RFC 8785. */
function canonicalJson(json: unknown): string {
  if (Array.isArray(json)) return `[${json.map(canonicalJson).join()}]`
  if (typeof json !== 'object' || json === null) return JSON.stringify(json)
  const members = Object.entries(json).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, value]) => `${JSON.stringify(name)}:${canonicalJson(value)}`).join()}}`
}
