import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

const styleOf: Record<string, Style> = { warn: 'yellow', error: 'red', fatal: 'red' }
/** Members that the printed line shows elsewhere, or not at all. */
const SHOWN = new Set([
  'level',
  'time',
  'msg',
  'method',
  'route',
  'status',
  'ms',
  'bytes',
  'function',
  'span_id',
  'err',
])

/** Formats a log line for a terminal: time, level, message, and below it the stack of an error. */
export function prettyLine(json: string): string {
  const line = JSON.parse(json) as Record<string, unknown>
  const { level, time, msg, err } = line
  const rest = Object.entries(line).filter(([name]) => !SHOWN.has(name))
  const details = rest.map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  const what = msg === 'request' ? requestOf(line) : `${String(line.function ?? '')} ${msg}`.trimStart()
  const style = styleOf[String(level)]
  const shown = style ? styleText(style, `${String(level).toUpperCase()} ${what}`) : what
  const stack = (err as { stack?: string } | undefined)?.stack
  return [styleText('dim', String(time).slice(11, 23)), shown, styleText('dim', details.join(' '))]
    .join(' ')
    .trimEnd()
    .concat(stack ? `\n${styleText('dim', stack)}` : '', '\n')
}

function requestOf({ method, route, status, ms }: Record<string, unknown>): string {
  const style = Number(status) >= 500 ? 'red' : Number(status) >= 400 ? 'yellow' : 'green'
  return `${method ?? '-'} ${route ?? '-'} ${styleText(style, String(status))} ${ms === undefined ? '' : `${ms} ms`}`
}
