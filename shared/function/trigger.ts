import { setTimeout as sleep } from 'node:timers/promises'
import { v7 as uuidv7 } from 'uuid'
import { logger } from '#telemetry'
import type { FunctionDefinition } from './definition.ts'
import { type CloudEventAttributes, eventRequest } from './event-function.ts'

/** What a trigger does with an event after the function has answered: done with it, never again, or once more later. */
export type Verdict = 'acknowledge' | 'reject' | 'retry'

export interface RunningTrigger {
  /** Takes no more events, and resolves when those in hand are dealt with. */
  stop: () => Promise<void>
}

/** Answers that say "not now" although they are 4xx: https://www.rfc-editor.org/rfc/rfc9110#name-408-request-timeout, 425, 429. */
const PASSING = new Set([408, 425, 429])

/** Hands one event to a function, in process, and reads its verdict off the status. Never throws. */
export async function deliver(
  definition: FunctionDefinition,
  attributes: CloudEventAttributes,
  data: unknown,
  traceparent?: string,
): Promise<Verdict> {
  try {
    const { status, ok } = await definition.app.fetch(eventRequest(attributes, data, traceparent))
    if (ok) return 'acknowledge'
    return status >= 400 && status < 500 && !PASSING.has(status) ? 'reject' : 'retry'
  } catch (error) {
    logger().error({ function: definition.name, err: error }, 'the function threw instead of answering')
    return 'retry'
  }
}

/** Runs a schedule function: first at a random moment within one period, so that many processes spread out, then every period. */
export function startClock(definition: FunctionDefinition): RunningTrigger {
  if (definition.trigger.kind !== 'schedule') throw new Error(`${definition.name} has no schedule`)
  const { everyMs } = definition.trigger
  const stopping = new AbortController()
  const running = tickUntil(stopping.signal, everyMs, definition)
  return {
    async stop() {
      stopping.abort()
      await running
    },
  }
}

async function tickUntil(signal: AbortSignal, everyMs: number, definition: FunctionDefinition): Promise<void> {
  let pauseMs = Math.random() * everyMs
  while (!signal.aborted) {
    // Rejects when it is aborted, which the loop's condition then sees.
    await sleep(pauseMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    const startedAt = Date.now()
    await deliver(definition, tick(definition.name), {})
    pauseMs = Math.max(0, everyMs - (Date.now() - startedAt))
  }
}

function tick(name: string): CloudEventAttributes {
  return {
    id: uuidv7(),
    source: 'clock',
    specversion: '1.0',
    type: 'schedule.tick',
    subject: name,
    time: new Date().toISOString(),
  }
}
