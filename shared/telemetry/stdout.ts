import { counter } from './metrics.ts'

/** The most characters that may wait in memory for stdout: more than a second of a busy process. */
const UNWRITTEN_MAX = 4 * 1024 * 1024
/** One write of this many characters costs about as much as one of a single line. */
const BATCH_LENGTH = 16 * 1024
/** How long the end of a process waits for a reader that is behind. */
const END_MS_MAX = 1_000
/** How long a line that may wait does wait. */
const DELAY_MS = 50

const dropped = counter('log_lines_dropped_total', 'Log lines dropped because stdout did not take them.')

let batch = ''
let lines = 0
let timer: NodeJS.Timeout | undefined
let isOpen = false

/**
 * Writes a line, which ends in a newline, to stdout: at once, or with `mayWait` within 50 ms and together with others. Never blocks on a pipe and
 * never throws: lines that a full, closed or failing stdout does not take are dropped and counted.
 */
export function writeLine(line: string, mayWait: boolean): void {
  if (!isOpen) open()
  batch += line
  lines += 1
  if (!mayWait || batch.length >= BATCH_LENGTH) flush()
  else timer ??= setTimeout(flush, DELAY_MS).unref()
}

function open(): void {
  isOpen = true
  // Without a listener, a pipe that its reader has closed, or a full disk, would end the process. Each failed write is counted.
  process.stdout.on('error', () => {})
  process.on('exit', flush)
}

/**
 * Uses Node's own stream instead of `fs.write`, which would block a thread of the pool while nobody reads; a process can't exit before its threads
 * have ended.
 */
function flush(): void {
  clearTimeout(timer)
  timer = undefined
  if (lines === 0) return
  const [text, count] = [batch, lines]
  batch = ''
  lines = 0
  if (process.stdout.writableLength + text.length > UNWRITTEN_MAX) {
    dropped.inc(count)
    return
  }
  process.stdout.write(text, (error) => {
    if (error) dropped.inc(count)
  })
}

/** Resolves when stdout has taken all lines, or after a second. Call it before `process.exit`, which does not wait. */
export async function flushLog(): Promise<void> {
  flush()
  if (!isOpen || process.stdout.writableLength === 0) return
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, END_MS_MAX)
    process.stdout.write('', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}
