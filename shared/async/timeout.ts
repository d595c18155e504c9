/**
 * What `work` gives; once it has taken longer than `limitMs`, throws what `late` makes. `work` itself goes on: end it in `late` where
 * that can be done.
 */
export async function withTimeout<Result>(
  limitMs: number,
  work: Promise<Result>,
  late: () => Error = () => new Error(`there was no answer within ${limitMs} ms`),
): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), limitMs)
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}
