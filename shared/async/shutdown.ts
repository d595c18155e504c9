const closers = new Set<() => unknown>()

/**
 * Has `close` called when the process shuts down, once, however often it is registered. A module registers when it opens something, so
 * that nobody has to keep a list of all that may be open. What is opened after a shutdown is registered anew.
 */
export function onShutdown(close: () => unknown): void {
  closers.add(close)
}

/**
 * Closes all that was registered, one after the other, what was registered last first: what stands on something else is closed before
 * it. Throws the first failure, after all have been tried.
 */
export async function shutDown(): Promise<void> {
  const closing = [...closers].reverse()
  closers.clear()
  const failures: unknown[] = []
  for (const close of closing) {
    try {
      await close()
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length > 0) throw failures[0]
}
