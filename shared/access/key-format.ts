import { createHash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

/**
 * `smk_`, 8 digits to tell keys apart, 192 random bits, and a checksum. By the checksum, a key that was mistyped, cut off or made up is refused
 * without the database. https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
 */
export function newKey(): { key: string; prefix: string } {
  const prefix = `smk_${randomBytes(4).toString('hex')}`
  const body = `${prefix}_${randomBytes(24).toString('base64url')}`
  return { prefix, key: `${body}${checksumOf(body)}` }
}

const WITH_CHECKSUM = /^(smk_[0-9a-f]{8}_[\w-]{32})([\w-]{8})$/

/** Whether a key has the form of this service's keys but not their checksum. Older keys have none, and a bootstrap key may be anything. */
export function hasBadChecksum(key: string): boolean {
  const [, body, checksum] = WITH_CHECKSUM.exec(key) ?? []
  return body !== undefined && checksum !== checksumOf(body)
}

function checksumOf(body: string): string {
  return crc32(body).toString(16).padStart(8, '0')
}

/** The stored hash of a key. A key has 192 random bits, so a slow hash would cost every request and protect nothing. */
export const digestOf = (key: string) => createHash('sha256').update(key).digest()
