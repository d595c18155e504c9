import { withTimeout } from '#async'

/** A server did not answer in time: its callers treat it like one that can't be reached. */
class ServerTimeout extends Error {
  override readonly name = 'ServerTimeout'
  readonly code = 'CONNECT_TIMEOUT'
}

export function isServerTimeout(error: unknown): boolean {
  return error instanceof ServerTimeout
}

/** What `work` gives. Throws the error of a server that can't be reached once it has taken longer than `limitMs`. */
export function withServerTimeout<Result>(limitMs: number, work: () => Promise<Result>): Promise<Result> {
  return withTimeout(limitMs, work(), () => new ServerTimeout(`the server did not answer within ${limitMs} ms`))
}
