import type { FinishedSpan } from '#telemetry'

/** Each trace takes some 20 kB with its lines: 20 MB in all. A new trace replaces the oldest. */
const TRACES_MAX = 1_000
/** Limits for one trace. A batch job can have any number. */
const SPANS_MAX = 500
const LINES_MAX = 200

/** The kept part of one trace. */
export interface KeptTrace {
  traceId: string
  spans: FinishedSpan[]
  /** Lines of the log, as they were written. */
  lines: string[]
}

export interface TraceStore {
  addSpan: (span: FinishedSpan) => void
  /** Keeps a log line if it names its trace. */
  addLine: (line: string) => void
  /** Finds the trace with this id or request id, and then the traces linked to or from it. Returns an empty list if it is not kept. */
  find: (id: string) => KeptTrace[]
}

/** Keeps the last traces of this process, each with its spans and lines. */
export function createTraceStore(): TraceStore {
  const traces = new Map<string, KeptTrace>()
  /** Traces by the ids of their requests. */
  const requests = new Map<string, string>()

  function traceOf(traceId: string): KeptTrace {
    const kept = traces.get(traceId) ?? { traceId, spans: [], lines: [] }
    traces.set(traceId, kept)
    dropOldest(traces)
    return kept
  }

  return {
    addSpan(span) {
      const { spans } = traceOf(span.traceId)
      if (spans.length < SPANS_MAX) spans.push(span)
    },
    addLine(line) {
      const traceId = /"trace_id":"([0-9a-f]{32})"/.exec(line)?.[1]
      if (traceId === undefined) return
      const { lines } = traceOf(traceId)
      if (lines.length < LINES_MAX) lines.push(line.trimEnd())
      const requestId = (JSON.parse(line) as { request_id?: string }).request_id
      if (requestId === undefined) return
      requests.set(requestId, traceId)
      dropOldest(requests)
    },
    find(id) {
      const traceId = traces.has(id) ? id : requests.get(id)
      const found = traceId === undefined ? undefined : traces.get(traceId)
      if (!found) return []
      const linked = new Set(found.spans.flatMap(({ linkedTraceIds }) => linkedTraceIds))
      const others = [...traces.values()].filter(
        (each) => each !== found && (linked.has(each.traceId) || isLinkedTo(each, found.traceId)),
      )
      return [found, ...others]
    },
  }
}

function isLinkedTo({ spans }: KeptTrace, traceId: string): boolean {
  return spans.some(({ linkedTraceIds }) => linkedTraceIds.includes(traceId))
}

function dropOldest(map: Map<string, unknown>): void {
  const [oldest] = map.keys()
  if (map.size > TRACES_MAX && oldest !== undefined) map.delete(oldest)
}
