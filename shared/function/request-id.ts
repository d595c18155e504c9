import { randomUUID } from 'node:crypto'

/** At most 128 visible ASCII characters: anything else could forge a log line or a header. */
const ACCEPTABLE = /^[\x21-\x7e]{1,128}$/

/** The request's own `Request-Id` if it is safe to echo, else a random one: nothing is sorted by it. */
export function requestIdOf(header: string | null | undefined): string {
  return header && ACCEPTABLE.test(header) ? header : randomUUID()
}
