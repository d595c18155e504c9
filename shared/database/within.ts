/** A server that has gone silent: to whoever asked, it is like one that can't be reached. */
class Stalled extends Error {
  override readonly name = 'Stalled'
  readonly code = 'CONNECT_TIMEOUT'
}

export function isStalled(error: unknown): boolean {
  return error instanceof Stalled
}

/** What `work` gives; once it has taken longer than `limitMs`, an error like that of a server that can't be reached. */
export async function within<Result>(limitMs: number, work: () => Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const stalled = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Stalled(`the server did not answer within ${limitMs} ms`))
    }, limitMs)
  })
  try {
    return await Promise.race([work(), stalled])
  } finally {
    clearTimeout(timer)
  }
}
