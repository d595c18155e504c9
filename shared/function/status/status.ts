import { withTimeout } from '#async'
import { checkDatabase } from '#database'
import type { FunctionDefinition } from '../definition.ts'
import type { Health, Instance } from './instance.ts'

/** Less than the 800 ms that the router waits, so that a process whose database hangs still reports the rest. */
const HEALTH_MS_MAX = 500

/** Whether everything that this process needs answers. */
export function processHealth(): Promise<Health> {
  const checked = checkDatabase().then(
    (failing): Health => (Object.keys(failing).length === 0 ? 'ok' : 'unavailable'),
    (): Health => 'unavailable',
  )
  return withTimeout(HEALTH_MS_MAX, checked).catch(() => 'unknown')
}

/** The status of a function that this process serves. */
export function statusOf({ inFlight, recent }: FunctionDefinition, health: Health, version: string | null): Instance {
  const startedAt = new Date(performance.timeOrigin).toISOString()
  return { health, inFlight: inFlight(), ...recent(), startedAt, version }
}
