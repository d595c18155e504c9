import type { Outcome } from '#errors'
import {
  failSpan,
  isRecorded,
  type Message,
  type Span,
  startProcess,
  startProcessTogether,
  traceOf,
  tracing,
} from '#telemetry'
import type { FunctionDefinition } from '../definition.ts'

type Failure = Exclude<Outcome, { verdict: 'acknowledge' }>

/**
 * Runs a function's handling of an event in a span: a span of the event's message, or of a schedule's run. The run of an outbox has no span, since
 * most runs find nothing. The messages that it sends have spans.
 */
export async function inEventSpan(
  { name, trigger }: FunctionDefinition,
  message: Message | undefined,
  work: () => Promise<Outcome>,
): Promise<Outcome> {
  const on = tracing()
  if (!on) return work()
  const attributes = { 'faas.name': name, 'faas.trigger': 'timer' }
  const startRun = () => (trigger.kind === 'schedule' ? on.start(name, { parent: null, attributes }) : undefined)
  const span = message ? startProcess(on, name, message) : startRun()
  const outcome = await on.run(span, work)
  if (span) end(span, outcome)
  return outcome
}

/**
 * Runs a function's handling of several messages in one span, and gives each message a span of its own if its trace is recorded. `work` gets the
 * messages with the traces of their spans.
 */
export async function inBatchSpans<Event extends Message>(
  { name }: FunctionDefinition,
  messages: readonly Event[],
  work: (messages: readonly Event[]) => Promise<Outcome[] | Failure>,
): Promise<Outcome[] | Failure> {
  const on = tracing()
  if (!on) return work(messages)
  const spans = messages.map((message) => (isRecorded(message.trace) ? startProcess(on, name, message) : undefined))
  const recorded = spans.filter((span) => span !== undefined)
  if (recorded.length === 0) return on.run(undefined, () => work(messages))
  const together = startProcessTogether(on, name, messages, recorded)
  for (const span of recorded) span.addLink({ context: together.spanContext() })
  const traced = messages.map((message, index) => {
    const span = spans[index]
    return span ? { ...message, trace: traceOf(span, message.trace.baggage) } : message
  })
  const outcomes = await on.run(together, () => work(traced))
  const shared = 'verdict' in outcomes ? outcomes : undefined
  for (const [index, span] of spans.entries()) {
    if (span) end(span, shared ?? (outcomes as Outcome[])[index])
  }
  end(together, shared)
  return outcomes
}

function end(span: Span, outcome: Outcome | undefined): void {
  if (outcome && outcome.verdict !== 'acknowledge') {
    failSpan(span, { name: outcome.verdict, message: outcome.error })
  }
  span.end()
}
