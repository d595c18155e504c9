import { withTimeout } from '#async'

/** A server did not answer in time. Callers treat it like a server that can't be reached. */
class ServerTimeout extends Error {
  override readonly name = 'ServerTimeout'
  readonly code = 'CONNECT_TIMEOUT'
}

export function isServerTimeout(error: unknown): boolean {
  return error instanceof ServerTimeout
}

/** The result of `work`. Once `work` has taken longer than `limitMs`, throws the error of a server that can't be reached. */
export function withServerTimeout<Result>(limitMs: number, work: () => Promise<Result>): Promise<Result> {
  return withTimeout(limitMs, work(), () => new ServerTimeout(`the server did not answer within ${limitMs} ms`))
}
