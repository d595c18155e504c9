import { invalid, ServiceError } from '#errors'
import type { RequestHeaders } from './request-headers.ts'

/** Deeper input is refused: nothing here is that deep, and recursion over it must end. */
const JSON_DEPTH_MAX = 32

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** What a decoder puts in the place of bytes that are not UTF-8. */
const REPLACEMENT = '\uFFFD'

/**
 * The request's body as JSON. An empty body counts as `{}`, whatever its type.
 * Throws `too_large`, `unsupported_media_type` or `malformed_json`.
 */
export async function readJson(
  request: Request,
  headers: RequestHeaders,
  accepted: readonly string[],
  maxBytes: number,
): Promise<unknown> {
  const text = await readText(request, headers, maxBytes)
  if (text === '') return {}
  requireType(headers.get('content-type'), accepted)
  const json = parse(text)
  const skipped = findSkipped(json, 0)
  if (skipped) throw invalid(skipped.join('.'), 'is not a known member')
  return json
}

async function readText(request: Request, headers: RequestHeaders, maxBytes: number): Promise<string> {
  const length = headers.get('content-length')
  if (Number(length ?? 0) > maxBytes) throw tooLarge(maxBytes)
  if (length === null) return decode(await readChunks(request, maxBytes))
  // The server holds a body to its declared length. A buffer for it would cost a tenth of all that a small request does.
  const text = await request.text()
  // Where bytes were replaced, it has become longer, but for a character of four bytes that lacks the last: that one is read as
  // U+FFFD, which may be sent as well.
  if (text.includes(REPLACEMENT) && Buffer.byteLength(text) !== Number(length)) throw malformed('not valid UTF-8')
  return text
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw malformed('not valid UTF-8')
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw malformed((error as Error).message)
  }
}

function malformed(why: string): ServiceError {
  return new ServiceError('malformed_json', `The body is not JSON in UTF-8: ${why}.`)
}

async function readChunks(request: Request, maxBytes: number): Promise<Uint8Array> {
  if (!request.body) return new Uint8Array()
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body) {
    size += chunk.length
    if (size > maxBytes) throw tooLarge(maxBytes)
    chunks.push(chunk)
  }
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)
}

function tooLarge(maxBytes: number): ServiceError {
  return new ServiceError('too_large', `The body is larger than ${maxBytes} bytes.`)
}

function requireType(header: string | null, accepted: readonly string[]): void {
  if (header !== null && accepted.includes(header)) return
  const [type = '', ...parameters] = (header ?? '')
    .toLowerCase()
    .split(';')
    .map((part) => part.trim())
  const charset = parameters
    .find((parameter) => parameter.startsWith('charset='))
    ?.slice('charset='.length)
    .replaceAll('"', '')
  if (accepted.includes(type) && (charset === undefined || charset === 'utf-8' || charset === 'utf8')) return
  throw new ServiceError('unsupported_media_type', `Send the body as ${accepted.join(' or ')}, in UTF-8.`)
}

/** Schemas skip a member of this name without a word, so that nobody's prototype is set by accident: it would be lost. */
const SKIPPED = '__proto__'

/** The path to a member that schemas skip, if there is one. Throws `validation_failed` for what is nested too deeply. */
function findSkipped(json: unknown, depth: number): string[] | undefined {
  if (typeof json !== 'object' || json === null) return undefined
  if (depth === JSON_DEPTH_MAX) {
    const message = `is nested more than ${JSON_DEPTH_MAX} levels deep`
    throw new ServiceError('validation_failed', `The body ${message}.`, { issues: [{ path: '', message }] })
  }
  for (const name of Object.keys(json)) {
    if (name === SKIPPED) return [name]
    const path = findSkipped((json as Record<string, unknown>)[name], depth + 1)
    if (path) return [name, ...path]
  }
  return undefined
}
