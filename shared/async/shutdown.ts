const closers = new Set<() => unknown>()

/**
 * Registers `close` for the shutdown of the process. It is called once, however often it is registered. A module registers it when it opens
 * something, and again when it opens it after a shutdown.
 */
export function onShutdown(close: () => unknown): void {
  closers.add(close)
}

/**
 * Calls everything that is registered, one after the other, the last registered first: dependents are closed before the things they depend on.
 * Throws the first failure, after it has tried all.
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
