import { withTimeout } from '#async'

/** A server that has gone silent: to whoever asked, it is like one that can't be reached. */
class Stalled extends Error {
  override readonly name = 'Stalled'
  readonly code = 'CONNECT_TIMEOUT'
}

export function isStalled(error: unknown): boolean {
  return error instanceof Stalled
}

/** What `work` gives; once it has taken longer than `limitMs`, an error like that of a server that can't be reached. */
export function within<Result>(limitMs: number, work: () => Promise<Result>): Promise<Result> {
  return withTimeout(limitMs, work(), () => new Stalled(`the server did not answer within ${limitMs} ms`))
}
