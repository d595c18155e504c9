import { closeRelay, eventsSettings } from '#events'
import { brokerSettings, closeJobs } from '#jobs'
import type { FunctionDefinition } from './definition.ts'
import { type RunningTrigger, startClock } from './trigger.ts'

/** Runs the function that publishes events. Throws a ConfigError. */
export function startEventOutbox(definition: FunctionDefinition): RunningTrigger {
  eventsSettings()
  return startOutbox(definition, 'events', closeRelay)
}

/** Runs the function that tells the broker of jobs, where there is one. Throws a ConfigError. */
export function startJobOutbox(definition: FunctionDefinition): RunningTrigger {
  return brokerSettings() ? startOutbox(definition, 'jobs', closeJobs) : { stop: async () => {} }
}

function startOutbox(
  definition: FunctionDefinition,
  outbox: 'events' | 'jobs',
  close: () => Promise<void>,
): RunningTrigger {
  const { name, trigger } = definition
  if (trigger.kind !== 'outbox' || trigger.outbox !== outbox)
    throw new Error(`${name} publishes no outbox of ${outbox}`)
  const clock = startClock(definition)
  return {
    async stop() {
      await clock.stop()
      await close()
    },
  }
}
