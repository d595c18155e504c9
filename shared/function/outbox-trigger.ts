import { checkEventsSettings } from '#events'
import type { FunctionDefinition } from './definition.ts'
import { type RunningTrigger, startClock } from './trigger.ts'

/** Runs the function that publishes the outbox. Throws a ConfigError. */
export function startOutbox(definition: FunctionDefinition): RunningTrigger {
  if (definition.trigger.kind !== 'outbox') throw new Error(`${definition.name} publishes no outbox`)
  checkEventsSettings()
  return startClock(definition)
}
