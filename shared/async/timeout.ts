/**
 * The result of `work`. Throws the error that `late` returns once `work` has taken longer than `limitMs`. This does not stop `work`: stop it in
 * `late` if you can.
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
