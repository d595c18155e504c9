/** What `work` gives; once it has taken longer than `limitMs`, an error like that of a server that can't be reached. */
export async function within<Result>(limitMs: number, work: () => Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const stalled = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(Object.assign(new Error(`the server did not answer within ${limitMs} ms`), { code: 'CONNECT_TIMEOUT' }))
    }, limitMs)
  })
  try {
    return await Promise.race([work(), stalled])
  } finally {
    clearTimeout(timer)
  }
}
