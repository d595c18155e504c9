import { styleText } from 'node:util'
import type { FinishedSpan } from '#telemetry'
import { prettyLine } from '../pretty-lines.ts'
import type { KeptTrace } from './store.ts'

const NAME_WIDTH = 44
const BAR_WIDTH = 40

/** Formats a trace for a terminal: one line for each span, below its parent, with a bar for its time. The log lines follow. */
export function waterfall({ traceId, spans, lines }: KeptTrace): string {
  const startMs = Math.min(...spans.map((span) => span.startMs))
  const endMs = Math.max(...spans.map((span) => span.startMs + span.durationMs))
  const scale = { startMs, totalMs: Math.max(endMs - startMs, 0.001) }
  const time = spans.length > 0 ? `${new Date(startMs).toISOString()}, ${format(scale.totalMs)}` : 'no spans'
  const drawn = inOrder(spans).map(({ span, depth }) => drawSpan(span, depth, scale))
  return [`${styleText('bold', `trace ${traceId}`)}  ${time}\n`, ...drawn, ...lines.map(prettyLine)].join('')
}

/** Orders each span after its parent. A span whose parent is not kept, for example a caller's span, starts a tree. */
function inOrder(spans: readonly FinishedSpan[]): Array<{ span: FinishedSpan; depth: number }> {
  const ids = new Set(spans.map(({ spanId }) => spanId))
  const children = new Map<string | undefined, FinishedSpan[]>()
  for (const span of [...spans].sort((a, b) => a.startMs - b.startMs)) {
    const parent = span.parentSpanId !== undefined && ids.has(span.parentSpanId) ? span.parentSpanId : undefined
    children.set(parent, [...(children.get(parent) ?? []), span])
  }
  const below = (parent: string | undefined, depth: number): Array<{ span: FinishedSpan; depth: number }> =>
    (children.get(parent) ?? []).flatMap((span) => [{ span, depth }, ...below(span.spanId, depth + 1)])
  return below(undefined, 0)
}

function drawSpan(
  span: FinishedSpan,
  depth: number,
  { startMs, totalMs }: { startMs: number; totalMs: number },
): string {
  const name = `${'  '.repeat(depth)}${span.name}`.slice(0, NAME_WIDTH).padEnd(NAME_WIDTH)
  const from = Math.min(Math.floor(((span.startMs - startMs) / totalMs) * BAR_WIDTH), BAR_WIDTH - 1)
  const length = Math.min(Math.max(Math.round((span.durationMs / totalMs) * BAR_WIDTH), 1), BAR_WIDTH - from)
  const bar = `${' '.repeat(from)}${'█'.repeat(length)}`.padEnd(BAR_WIDTH)
  const notes = [
    ...(span.isFailed ? ['failed'] : []),
    ...span.events,
    ...span.linkedTraceIds.map((id) => `⇢ ${id.slice(0, 8)}`),
  ]
  const coloured = styleText(span.isFailed ? 'red' : 'cyan', bar)
  return `${name} ${coloured} ${format(span.durationMs).padStart(9)}${notes.length > 0 ? `  ${notes.join(', ')}` : ''}\n`
}

function format(ms: number): string {
  return ms < 1_000 ? `${ms.toFixed(2)} ms` : `${(ms / 1_000).toFixed(2)} s`
}
