import { isUtf8 } from 'node:buffer'
import { ServiceError } from '#errors'
import { parseJson } from '#input'
import { type BodySource, readBody, tooLarge } from './read-body.ts'
import type { RequestHeaders } from './request-headers.ts'
import type { Upload } from './upload.ts'

export interface Received<Content> {
  content: Content
  /** Call it once, when the work is over. */
  release: () => void
}

/**
 * Reads a request's body as JSON. An empty body counts as `{}`, whatever its type. Throws `malformed_json`, and also `too_large` or
 * `unsupported_media_type`, by the headers alone if possible.
 */
export async function readJson(
  source: BodySource,
  headers: RequestHeaders,
  accepted: readonly string[],
  valuesMax?: number,
): Promise<Received<unknown>> {
  requireNoCoding(headers.get('content-encoding'))
  const length = requireLength(headers, source.bytesMax)
  if (length === 0 || hasNoBody(source)) return { content: {}, release: () => {} }
  if (length !== undefined) requireType(headers, accepted)
  const { blocks, release } = await readBody(source)
  try {
    const text = textOf(blocks)
    if (text === '') return { content: {}, release }
    requireType(headers, accepted)
    return { content: parseJson(text, valuesMax), release }
  } catch (error) {
    release()
    throw error
  }
}

/** Reads a request's body as bytes. Throws `too_large` or `unsupported_media_type`, by the headers alone if possible. */
export async function readUpload(
  source: BodySource,
  headers: RequestHeaders,
  accepted: readonly string[],
): Promise<Received<Upload>> {
  requireNoCoding(headers.get('content-encoding'))
  requireLength(headers, source.bytesMax)
  const type = requireType(headers, accepted)
  const { blocks, release } = await readBody(source)
  return { content: { type, blocks }, release }
}

/** Node's parser accepts no body without one of these headers. */
function hasNoBody({ http }: BodySource): boolean {
  const incoming = http?.incoming
  if (!incoming) return false
  return incoming.headers['content-length'] === undefined && incoming.headers['transfer-encoding'] === undefined
}

const BYTE_ORDER_MARK = '\uFEFF'

/** Checks the bytes as a whole, so that it does not matter how they were split into chunks. */
function textOf(blocks: readonly Uint8Array[]): string {
  const [first, ...others] = blocks
  const bytes = first && others.length === 0 ? first : Buffer.concat(blocks)
  if (!isUtf8(bytes)) throw new ServiceError('malformed_json', 'The body is not JSON in UTF-8: not valid UTF-8.')
  const text = bufferOf(bytes).toString()
  return text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Nothing here decodes a body, so an encoded one is refused. https://www.rfc-editor.org/rfc/rfc9110#name-content-encoding */
export function requireNoCoding(coding: string | null | undefined): void {
  if (coding == null || /^(?:[\s,]|identity)*$/i.test(coding)) return
  throw new ServiceError('unsupported_media_type', 'Send the body as it is, without a Content-Encoding.')
}

/** The announced length. Throws `too_large`. */
function requireLength(headers: RequestHeaders, bytesMax: number): number | undefined {
  const announced = headers.get('content-length')
  if (announced === null) return undefined
  if (Number(announced) > bytesMax) throw tooLarge(bytesMax)
  return Number(announced)
}

/** The media type, one of `accepted`. Throws `unsupported_media_type`. */
function requireType(headers: RequestHeaders, accepted: readonly string[]): string {
  const header = headers.get('content-type')
  if (header !== null && accepted.includes(header)) return header
  const [type = '', ...parameters] = (header ?? '')
    .toLowerCase()
    .split(';')
    .map((part) => part.trim())
  const charset = parameters
    .find((parameter) => parameter.startsWith('charset='))
    ?.slice('charset='.length)
    .replaceAll('"', '')
  if (accepted.includes(type) && (charset === undefined || charset === 'utf-8' || charset === 'utf8')) return type
  throw new ServiceError('unsupported_media_type', `Send the body as ${accepted.join(' or ')}, in UTF-8.`)
}
