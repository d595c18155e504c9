import { endWith, tracing } from '#telemetry'
import type { Entry } from './queue.ts'

type Member = Pick<Entry<unknown, never>, 'span'>

/**
 * Does the work of a batch in a trace of its own, which is recorded if a request is that the batch begins with. The batch links to its
 * recorded requests, late joiners too, and each of them links to the batch. `work` may change `batch`.
 */
export async function inBatchSpan<Result>(
  group: string,
  batch: readonly Member[],
  work: () => Promise<Result>,
): Promise<Result> {
  const on = tracing()
  if (!on) return work()
  const links = batch.flatMap(({ span }) => span ?? [])
  // Not in the context that this happens to run in, which is that of a request of an earlier batch.
  if (links.length === 0) return on.run(undefined, work)
  const span = on.start(`group commit ${group}`, { parent: null, links })
  return endWith(on, span, async () => {
    try {
      return await work()
    } finally {
      span.setAttribute('group_commit.batch_size', batch.length)
      for (const { span: request } of batch) {
        if (request && !links.includes(request)) span.addLink({ context: request.spanContext() })
        request?.addLink({ context: span.spanContext() })
      }
    }
  })
}
