import { endWith, type Span, type Tracing, tracing } from '#telemetry'
import type { Entry } from './queue.ts'

type Member = Pick<Entry<unknown, never>, 'span'>

/**
 * Runs the work of a batch in a trace of its own, which is recorded if one of its requests is. The batch links to its recorded requests, including
 * late joiners, and each of them links to the batch. If the first recorded request joins late, the batch's span has no statements, because they
 * were sent without a span. `work` may change `batch`.
 */
export async function inBatchSpan<Result>(
  group: string,
  batch: readonly Member[],
  work: () => Promise<Result>,
): Promise<Result> {
  const on = tracing()
  if (!on) return work()
  const links = recorded(batch)
  // Not in the current context, which belongs to a request of an earlier batch.
  if (links.length === 0) return thenInSpan(on, group, batch, () => on.run(undefined, work))
  const span = on.start(nameOf(group), { parent: null, links })
  return endWith(on, span, () => work().finally(() => link(span, batch, links)))
}

/** Runs the work without a span, and creates one afterwards if a late joiner is recorded. */
async function thenInSpan<Result>(
  on: Tracing,
  group: string,
  batch: readonly Member[],
  work: () => Promise<Result>,
): Promise<Result> {
  const startedAt = performance.now()
  const done = work()
  await done.catch(() => {})
  const links = recorded(batch)
  if (links.length === 0) return done
  const span = on.start(nameOf(group), { parent: null, links, startedAt })
  link(span, batch, links)
  return endWith(on, span, () => done)
}

const nameOf = (group: string) => `group commit ${group}`
const recorded = (batch: readonly Member[]) => batch.flatMap(({ span }) => span ?? [])

function link(span: Span, batch: readonly Member[], linked: readonly Span[]): void {
  span.setAttribute('group_commit.batch_size', batch.length)
  for (const request of recorded(batch)) {
    if (!linked.includes(request)) span.addLink({ context: request.spanContext() })
    request.addLink({ context: span.spanContext() })
  }
}
