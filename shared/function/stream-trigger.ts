import { follow, type LoggedEvent } from '#events'
import type { FunctionDefinition } from './definition.ts'
import { deliver, type RunningTrigger } from './trigger.ts'

/** Follows a stream function's topic. Throws a ConfigError. */
export function startStream(definition: FunctionDefinition): RunningTrigger {
  const { trigger } = definition
  if (trigger.kind !== 'stream') throw new Error(`${definition.name} follows no topic`)
  const { topic, group, types } = trigger
  return follow({
    topic,
    group,
    types,
    deliver: (event) => deliver(definition, attributesOf(topic, event), event.data, event),
  })
}

function attributesOf(topic: string, { id, type, productId, occurredAt }: LoggedEvent) {
  return {
    id,
    source: `/topics/${topic}`,
    specversion: '1.0' as const,
    type,
    subject: productId,
    time: occurredAt.toISOString(),
  }
}
