import { Webhook, WebhookVerificationError } from 'standardwebhooks'
import { expect, it } from 'vitest'
import { newSecret, sign } from './secret.ts'

const seconds = () => Math.floor(Date.now() / 1000)
const headersOf = (id: string, timestamp: number, signature: string) => ({
  'webhook-id': id,
  'webhook-timestamp': String(timestamp),
  'webhook-signature': signature,
})

it('signs as the specification’s own library verifies, and no other message or secret fits', () => {
  const secret = newSecret()
  const now = seconds()
  const body = '{"note":"ü"}'
  const headers = headersOf('msg_1', now, sign(secret, 'msg_1', now, body))
  expect(new Webhook(secret).verify(body, headers)).toEqual({ note: 'ü' })
  for (const [key, message, other] of [
    [newSecret(), body, headers],
    [secret, `${body} `, headers],
    [secret, body, { ...headers, 'webhook-id': 'msg_2' }],
    [secret, body, { ...headers, 'webhook-timestamp': String(now - 1) }],
  ] as const) {
    expect(() => new Webhook(key).verify(message, other)).toThrow(WebhookVerificationError)
  }
})

it('signs the example of the specification', () => {
  const signature = sign(
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    'msg_p5jXN8AQM9LWM0D4loKWxJek',
    1_614_265_330,
    '{"test": 2432232314}',
  )
  expect(signature).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
})

it('makes secrets of 32 random bytes, never the same', () => {
  const secrets = Array.from({ length: 100 }, newSecret)
  for (const secret of secrets) {
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(Buffer.from(secret.slice(6), 'base64')).toHaveLength(32)
  }
  expect(new Set(secrets).size).toBe(100)
})
