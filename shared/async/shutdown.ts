const closers = new Set<() => Promise<void>>()

/**
 * Has `close` called when the process shuts down, once, however often it is registered. A module registers when it opens something, so
 * that no list of all that may be open has to be kept anywhere. What is opened after a shutdown is registered anew.
 */
export function onShutdown(close: () => Promise<void>): void {
  closers.add(close)
}

/** Closes all that was registered, at once. Throws the first failure, after all have been tried. */
export async function shutDown(): Promise<void> {
  const closing = [...closers]
  closers.clear()
  const results = await Promise.allSettled(closing.map((close) => close()))
  const failure = results.find((result) => result.status === 'rejected')
  if (failure) throw failure.reason
}
