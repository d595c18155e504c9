import { withTimeout } from '#async'
import { checkDatabase } from '#database'
import type { FunctionDefinition } from '../definition.ts'
import type { Health, Instance } from './instance.ts'

/** Less than the 800 ms that the router waits, so that a process whose database hangs still says the rest. */
const HEALTH_MS_MAX = 500

/** Whether what this process needs answers. */
export function processHealth(): Promise<Health> {
  const checked = checkDatabase().then(
    (failing): Health => (Object.keys(failing).length === 0 ? 'ok' : 'unavailable'),
    (): Health => 'unavailable',
  )
  return withTimeout(HEALTH_MS_MAX, checked).catch(() => 'unknown')
}

/** What a function that this process serves has to say of itself. */
export function statusOf({ inFlight, recent }: FunctionDefinition, health: Health, version: string | null): Instance {
  const startedAt = new Date(performance.timeOrigin).toISOString()
  return { health, inFlight: inFlight(), ...recent(), startedAt, version }
}
