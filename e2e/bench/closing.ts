/** Closes what has been started, latest last. */
const open: Array<() => Promise<unknown>> = []
let isInterrupted = false

/** Has `close` called at the end, whether the work succeeds, fails or is interrupted. Gives a function that does it now. */
export function closeLater(close: () => Promise<unknown>): () => Promise<void> {
  open.push(close)
  // The loop under way closes what the work starts while it is being interrupted.
  if (isInterrupted) throw new Error('interrupted')
  return async () => {
    const index = open.indexOf(close)
    if (index < 0) return
    open.splice(index, 1)
    await close()
  }
}

/** Runs `work`, and closes afterwards what it has opened, the latest first. Ctrl-C and SIGTERM close it too, and end the process. */
export async function withClosing(work: () => Promise<void>): Promise<void> {
  const interrupt = (signal: NodeJS.Signals) => {
    if (isInterrupted) return
    isInterrupted = true
    process.stderr.write(`\n${signal}: stopping what was started\n`)
    void closeAll().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  try {
    await work()
  } catch (error) {
    // The work fails because what it uses is closed.
    if (isInterrupted) return new Promise(() => {})
    throw error
  } finally {
    if (!isInterrupted) await closeAll()
  }
}

async function closeAll(): Promise<void> {
  for (let close = open.pop(); close; close = open.pop()) {
    await close().catch((error: unknown) => process.stderr.write(`${String(error)}\n`))
  }
}
