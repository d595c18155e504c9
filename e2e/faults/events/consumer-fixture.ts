import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { type RequestContext, transaction } from '#database'
import { oncePerEvent } from '#events'
import { streamFunction } from '#function'
import { runProcess, startHost } from '#function/host'
import { startStream } from '#function/triggers'
import { tuneConsumers } from '../../../shared/events/testing/kafka.ts'

/**
 * A consumer whose effects can be counted: it writes a row for each event, and only `oncePerEvent` prevents a second row. With BATCH it
 * takes that many events at once, each with its own effect.
 */
const name = 'count-effects'
const batchMax = Number(process.env.BATCH ?? 0)

const Counted = z.object({ productId: z.string(), version: z.number(), kills: z.boolean().optional() })

async function countEffect(eventId: string, data: z.infer<typeof Counted>, context: RequestContext): Promise<void> {
  await transaction(context, async (tx) => {
    if (!(await oncePerEvent(tx, name, eventId))) return
    await tx`insert into effects (event_id, product_id, version) values (${eventId}, ${data.productId}, ${data.version})`
    // Long enough that the process can be killed during an event.
    await sleep(5)
    if (data.kills) process.kill(process.pid, 'SIGKILL')
  })
}

const common = { name, topics: ['stock-events'], summary: 'Write down every event.', data: Counted }

const definition = batchMax
  ? streamFunction({
      ...common,
      batch: { max: batchMax, waitMs: 20 },
      async handler(events) {
        const results: Array<PromiseSettledResult<unknown>> = []
        for (const { attributes, data, context } of events)
          results.push(...(await Promise.allSettled([countEffect(attributes.id, data, context)])))
        return results
      },
    })
  : streamFunction({ ...common, handler: ({ attributes, data, context }) => countEffect(attributes.id, data, context) })

// The group considers a killed member dead after 3 s instead of 10, so the tests wait less.
tuneConsumers({ sessionTimeout: 3_000, heartbeatInterval: 300, maxWaitTimeInMs: 50 })

await runProcess(() => startHost(definition, startStream))
