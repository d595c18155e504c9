let lastTurn: Promise<unknown> = Promise.resolve()

/**
 * Runs `work` at once. But if its event may crash the process, runs it after all earlier work of that kind in this process: an event must not be
 * counted for a crash that another event caused.
 */
export function oneAtATime<Result>(mayCrash: boolean, work: () => Promise<Result>): Promise<Result> {
  if (!mayCrash) return work()
  const turn = lastTurn.then(work)
  lastTurn = turn.catch(() => {})
  return turn
}
