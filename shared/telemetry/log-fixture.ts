import { setImmediate as nextTurn } from 'node:timers/promises'
import { logger } from './log.ts'
import { renderMetrics } from './metrics.ts'

/** Logs 40 MB on a stdout that nobody reads, and tells its parent what became of that. Wants `--expose-gc`. */
const LINES = 100_000
const text = 'x'.repeat(400)

logger().info({ text }, 'the first line opens what it needs')
const before = heapBytes()
for (let line = 0; line < LINES; line++) {
  logger().info({ text }, 'a line')
  if (line % 100 === 0) await nextTurn()
}
const dropped = Number(/^log_lines_dropped_total (\d+)/m.exec(await renderMetrics())?.[1] ?? 0)
process.send?.({ written: LINES, dropped, grownBytes: heapBytes() - before })

function heapBytes(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
