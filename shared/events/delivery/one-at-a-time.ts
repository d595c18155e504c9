let lastTurn: Promise<unknown> = Promise.resolve()

/**
 * Does `work` at once; or, where its event may crash the process, after all earlier work of that kind in this process: an event that
 * survives another's crash must not be counted for it.
 */
export function oneAtATime<Result>(mayCrash: boolean, work: () => Promise<Result>): Promise<Result> {
  if (!mayCrash) return work()
  const turn = lastTurn.then(work)
  lastTurn = turn.catch(() => {})
  return turn
}
