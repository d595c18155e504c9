import * as z from 'zod'
import { jittered, startLoop } from '#async'
import { isPaused } from '#database'
import { cutText, type Outcome } from '#errors'
import { newId } from '#ids'
import { logger, type Message } from '#telemetry'
import type { FunctionDefinition } from '../definition.ts'
import { isFinal, isOutage } from './batch-answer.ts'
import { type CloudEventAttributes, eventRequest } from './cloud-event.ts'
import { inEventSpan } from './process-span.ts'

export interface RunningTrigger {
  /** Takes no more events, and resolves when those in flight are done. */
  stop: () => Promise<void>
}

/**
 * Sends one event to a function, in process, and derives the event's outcome from the answer. `message` is the message that carried the event, if
 * it did not come from the clock. Never throws.
 */
export function deliver(
  definition: FunctionDefinition,
  attributes: CloudEventAttributes,
  data: unknown,
  message?: Message,
): Promise<Outcome> {
  return inEventSpan(definition, message, () => send(definition, attributes, data, message?.trace))
}

async function send(
  definition: FunctionDefinition,
  attributes: CloudEventAttributes,
  data: unknown,
  trace: Message['trace'] | undefined,
): Promise<Outcome> {
  try {
    const request = eventRequest(attributes, data, trace)
    const response = await definition.app.fetch(request)
    if (response.ok) return { verdict: 'acknowledge' }
    const { status } = response
    const verdict = isFinal(status) ? 'reject' : 'retry'
    return { verdict, error: await reasonOf(response), isOutage: isOutage(status) }
  } catch (error) {
    logger().error({ function: definition.name, err: error }, 'the function threw instead of answering')
    return { verdict: 'retry', error: cutText(String(error), REASON_MAX) }
  }
}

/** A dead letter needs a sentence, not a stack. */
export const REASON_MAX = 1_000

const Problem = z.object({ code: z.string(), detail: z.string() })

export async function reasonOf(response: Response): Promise<string> {
  const problem = Problem.safeParse(await response.json().catch(() => undefined))
  const reason = problem.success ? `${problem.data.code}: ${problem.data.detail}` : `answered ${response.status}`
  return cutText(reason, REASON_MAX)
}

/** Runs a schedule or outbox function every period. The first run is at a random moment of a period, so that many processes spread out. */
export function startClock(definition: FunctionDefinition): RunningTrigger {
  const { trigger } = definition
  if (trigger.kind !== 'schedule' && trigger.kind !== 'outbox')
    throw new Error(`${definition.name} is neither a schedule nor an outbox function`)
  const { everyMs } = trigger
  const round = async () => {
    const startedAt = performance.now()
    if (await waitsForResume()) return jittered(AFTER_FAILURE_MS)
    const { verdict } = await deliver(definition, tick(definition.name), {})
    const restMs = verdict === 'acknowledge' ? 0 : jittered(AFTER_FAILURE_MS)
    return Math.max(restMs, everyMs - (performance.now() - startedAt))
  }
  return startLoop(round, { firstPauseMs: Math.random() * everyMs })
}

/**
 * Whether the database was restored and only work that clients ask for may run. If this can't be asked, the function can't work either, and reports
 * that itself.
 */
export const waitsForResume = () => isPaused().catch(() => false)

/** The outcome of an event while the database waits. */
export const untilResumed = {
  verdict: 'retry',
  error: 'the database was restored: npm run backup -- resume lets consumers go on',
  isOutage: true,
} as const satisfies Outcome

/** While the database is down, a function with a short period would otherwise fail and log twenty times a second. */
const AFTER_FAILURE_MS = 1_000

function tick(name: string): CloudEventAttributes {
  return {
    id: newId(),
    source: 'clock',
    specversion: '1.0',
    type: 'schedule.tick',
    subject: name,
    time: new Date().toISOString(),
  }
}
