/** Functions that close everything that was started, the latest last. */
const open: Array<() => Promise<unknown>> = []
let isInterrupted = false

/** Calls `close` at the end, whether the work succeeds, fails or is interrupted. Returns a function that calls it now. */
export function closeLater(close: () => Promise<unknown>): () => Promise<void> {
  open.push(close)
  // The running loop also closes what the work starts during the interruption.
  if (isInterrupted) throw new Error('interrupted')
  return async () => {
    const index = open.indexOf(close)
    if (index < 0) return
    open.splice(index, 1)
    await close()
  }
}

/** Runs `work`, and afterwards closes everything that it has opened, the latest first. Ctrl-C and SIGTERM do so too, and end the process. */
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
    // The work fails because the resources that it uses are closed.
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
