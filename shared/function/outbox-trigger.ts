import { checkEventsSettings } from '#events'
import { brokerSettings } from '#jobs'
import type { FunctionDefinition } from './definition.ts'
import { type RunningTrigger, startClock } from './trigger.ts'

/** Runs a function that publishes an outbox. Throws a ConfigError. */
export function startOutbox(definition: FunctionDefinition): RunningTrigger {
  const { trigger } = definition
  if (trigger.kind !== 'outbox') throw new Error(`${definition.name} publishes no outbox`)
  if (trigger.outbox === 'events') checkEventsSettings()
  // Where the table is the queue, nobody is to be told of a job.
  else if (!brokerSettings()) return { stop: async () => {} }
  return startClock(definition)
}
