import { ServiceError } from '#errors'
import { parseJson } from '#input'
import type { RequestHeaders } from './request-headers.ts'
import type { Upload } from './upload.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** What a decoder puts in the place of bytes that are not UTF-8. */
const REPLACEMENT = '\uFFFD'

/** Bytes in a block: whatever chunks a body comes in, they are kept in few pieces. */
const BLOCK_BYTES = 256 * 1024

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
  return parseJson(text)
}

/** The request's body as it comes. Throws `too_large` or `unsupported_media_type`, before it is read where the headers tell. */
export async function readUpload(
  request: Request,
  headers: RequestHeaders,
  accepted: readonly string[],
  maxBytes: number,
): Promise<Upload> {
  requireLength(headers.get('content-length'), maxBytes)
  const type = requireType(headers.get('content-type'), accepted)
  return { type, blocks: await readBlocks(request, maxBytes) }
}

/** What came is not what was meant. Nobody is there to be told, and nothing is wrong with the service. */
export function brokenOff(cause?: unknown): ServiceError {
  return new ServiceError('client_closed_request', 'The client went away in the middle of the body.', { cause })
}

async function readText(request: Request, headers: RequestHeaders, maxBytes: number): Promise<string> {
  const length = headers.get('content-length')
  requireLength(length, maxBytes)
  if (length === null) return decode(Buffer.concat(await readBlocks(request, maxBytes)))
  // The server holds a body to its declared length. A buffer for it would cost a tenth of all that a small request does.
  const text = await request.text().catch((error) => {
    throw brokenOff(error)
  })
  // Where bytes were replaced, it has become longer, but for a character of four bytes that lacks the last: that one is read as
  // U+FFFD, which may be sent as well.
  if (text.includes(REPLACEMENT) && Buffer.byteLength(text) !== Number(length)) throw notUtf8()
  return text
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw notUtf8()
  }
}

function notUtf8(): ServiceError {
  return new ServiceError('malformed_json', 'The body is not JSON in UTF-8: not valid UTF-8.')
}

/**
 * The body in blocks of 256 KiB, the last one shorter, or empty. Chunks can be of one byte each: kept as they come, they would
 * take many times their size.
 */
async function readBlocks(request: Request, maxBytes: number): Promise<Uint8Array[]> {
  try {
    return await collectBlocks(request, maxBytes)
  } catch (error) {
    throw error instanceof ServiceError ? error : brokenOff(error)
  }
}

async function collectBlocks(request: Request, maxBytes: number): Promise<Uint8Array[]> {
  const blocks: Uint8Array[] = []
  let block = Buffer.alloc(0)
  let filled = 0
  let size = 0
  for await (const chunk of request.body ?? []) {
    size += chunk.length
    if (size > maxBytes) throw tooLarge(maxBytes)
    for (let taken = 0; taken < chunk.length; ) {
      if (filled === block.length) {
        block = Buffer.allocUnsafe(BLOCK_BYTES)
        blocks.push(block)
        filled = 0
      }
      const part = chunk.subarray(taken, taken + block.length - filled)
      block.set(part, filled)
      filled += part.length
      taken += part.length
    }
  }
  return [...blocks.slice(0, -1), block.subarray(0, filled)]
}

function requireLength(length: string | null, maxBytes: number): void {
  if (Number(length ?? 0) > maxBytes) throw tooLarge(maxBytes)
}

function tooLarge(maxBytes: number): ServiceError {
  return new ServiceError('too_large', `The body is larger than ${maxBytes} bytes.`)
}

/** The media type, which is one of `accepted`. */
function requireType(header: string | null, accepted: readonly string[]): string {
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
