import { createHmac, randomBytes } from 'node:crypto'

/** https://www.standardwebhooks.com: `whsec_`, then 24 to 64 random bytes in Base64. */
const PREFIX = 'whsec_'
const SECRET_BYTES = 32

export function newSecret(): string {
  return PREFIX + randomBytes(SECRET_BYTES).toString('base64')
}

/** The value of `webhook-signature` for a message: its id, its time (in seconds of the epoch), and its body. */
export function sign(secret: string, id: string, timestamp: number, body: string): string {
  const key = Buffer.from(secret.slice(PREFIX.length), 'base64')
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`
}
