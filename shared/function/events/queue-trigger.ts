import { work } from '#jobs'
import type { FunctionDefinition } from '../definition.ts'
import { deliver, type RunningTrigger } from './trigger.ts'

/** Works a queue function's queue. Throws a ConfigError. */
export function startQueue(definition: FunctionDefinition): RunningTrigger {
  const { trigger } = definition
  if (trigger.kind !== 'queue') throw new Error(`${definition.name} is not a queue function`)
  const { queue } = trigger
  return work({
    queue,
    deliver: ({ id, jobId, traceparent, tracestate }) => {
      const attributes = {
        id,
        source: `/queues/${queue}`,
        specversion: '1.0',
        type: 'job.due',
        subject: jobId,
      } as const
      return deliver(definition, attributes, { jobId }, { traceparent, tracestate })
    },
  })
}
