import { eventsSettings } from '#events'
import { brokerSettings } from '#jobs'
import type { FunctionDefinition } from '../definition.ts'
import { type RunningTrigger, startClock } from './trigger.ts'

/** Runs the function that publishes events. Throws a ConfigError. */
export function startEventOutbox(definition: FunctionDefinition): RunningTrigger {
  eventsSettings()
  return startOutbox(definition, 'events')
}

/** Runs the function that sends jobs to the broker, if there is a broker. Throws a ConfigError. */
export function startJobOutbox(definition: FunctionDefinition): RunningTrigger {
  return brokerSettings() ? startOutbox(definition, 'jobs') : { stop: async () => {} }
}

function startOutbox(definition: FunctionDefinition, outbox: 'events' | 'jobs'): RunningTrigger {
  const { name, trigger } = definition
  if (trigger.kind === 'outbox' && trigger.outbox === outbox) return startClock(definition)
  throw new Error(`${name} does not publish the outbox of ${outbox}`)
}
