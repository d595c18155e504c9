import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { LookupFunction } from 'node:net'
import { isPublicAddress, isPublicHost } from './addresses.ts'

export interface PostOptions {
  /** For connection, request and response together. */
  timeoutMs: number
  /** Resolves a name. */
  lookup: LookupFunction
  allowsPrivate: boolean
}

/** The outcome of a request. Any status is an answer. */
export type Posted =
  | { outcome: 'answered'; status: number }
  | { outcome: 'private_address' | 'timed_out' | 'unreachable'; reason: string }

/** The response body is not used. This much of it is read, so that most receivers do not see a broken connection. */
const ANSWER_BYTES_MAX = 16 * 1024
const ANSWER_MS_MAX = 1_000

const PRIVATE: Posted = { outcome: 'private_address', reason: 'The address is private.' }

/**
 * Sends one request, on its own connection: a pooled connection could be reused for another name. Follows no redirects. Never rejects, whatever the
 * receiver does.
 */
export function post(
  url: URL,
  headers: Record<string, string>,
  body: string,
  { timeoutMs, lookup, allowsPrivate }: PostOptions,
): Promise<Posted> {
  if (!allowsPrivate && !isPublicHost(url)) return Promise.resolve(PRIVATE)
  const request = url.protocol === 'https:' ? requestHttps : requestHttp
  return new Promise((resolve) => {
    let posted: Posted | undefined
    const sent = request(url, {
      method: 'POST',
      headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
      agent: false,
      lookup: allowsPrivate ? lookup : onlyPublic(lookup),
    })
    const giveUp = () => {
      posted ??= { outcome: 'timed_out', reason: `There was no answer within ${timeoutMs / 1000} s.` }
      sent.destroy()
    }
    const timers = [setTimeout(giveUp, timeoutMs)]
    sent.on('response', (answer) => {
      posted = { outcome: 'answered', status: answer.statusCode ?? 0 }
      timers.push(setTimeout(giveUp, ANSWER_MS_MAX))
      let bytes = 0
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > ANSWER_BYTES_MAX) sent.destroy()
      })
      // Only the status matters.
      answer.on('error', () => {})
    })
    sent.on('error', (error: NodeJS.ErrnoException) => {
      posted ??= error instanceof PrivateAddress ? PRIVATE : { outcome: 'unreachable', reason: reasonOf(error) }
    })
    sent.on('close', () => {
      for (const timer of timers) clearTimeout(timer)
      resolve(posted ?? { outcome: 'unreachable', reason: 'The connection was closed.' })
    })
    sent.end(body)
  })
}

class PrivateAddress extends Error {
  override readonly name = 'PrivateAddress'
}

/**
 * Resolves a name, and fails if any of its addresses is private. The connection uses the result of this look-up, so an attacker gains nothing from
 * a name that resolves to another address later.
 */
function onlyPublic(lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) =>
    lookup(hostname, options, (error, found, family) => {
      const addresses = typeof found === 'string' ? [found] : (found ?? []).map(({ address }) => address)
      if (!error && !addresses.every(isPublicAddress)) callback(new PrivateAddress(), [])
      else callback(error, found, family)
    })
}

/** Without the address, which may be internal. */
function reasonOf({ code, message }: NodeJS.ErrnoException): string {
  return `The receiver could not be reached: ${code ?? message}.`
}
