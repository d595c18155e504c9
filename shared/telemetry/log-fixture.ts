import { setImmediate as nextTurn } from 'node:timers/promises'
import { logger, writeAccessLine } from './log.ts'
import { renderMetrics } from './metrics.ts'
import { flushLog } from './stdout.ts'

/**
 * Logs 40 MB on a stdout that nobody reads, that is closed or that fails. Reports the result to its parent, and ends when the parent asks. Needs
 * `--expose-gc`.
 */
const LINES = 100_000
const text = 'x'.repeat(400)

logger().info({ text }, 'the first line opens what it needs')
const before = heapBytes()
for (let line = 0; line < LINES; line++) {
  if (line % 2 === 0) logger().info({ text }, 'a line')
  else writeAccessLine(`${JSON.stringify({ text })}\n`)
  if (line % 100 === 0) await nextTurn()
}
// The last lines may still wait to be written, and may then be dropped.
await flushLog()
const dropped = Number(/^log_lines_dropped_total (\d+)/m.exec(await renderMetrics())?.[1] ?? 0)
process.send?.({ written: LINES, dropped, grownBytes: heapBytes() - before })
process.once('message', () => void flushLog().then(() => process.exit(0)))

function heapBytes(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
