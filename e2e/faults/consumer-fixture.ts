import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { transaction } from '#database'
import { oncePerEvent } from '#events'
import { streamFunction } from '#function'
import { runProcess, startHost } from '#function/host'
import { startStream } from '#function/triggers'
import { tuneConsumers } from '../../shared/events/testing/kafka.ts'

/** A consumer whose effect can be counted: a row for each event, which nothing but `oncePerEvent` keeps from being there twice. */
const name = 'count-effects'

const definition = streamFunction({
  name,
  topics: ['stock-events'],
  summary: 'Write down every event.',
  data: z.object({ productId: z.string(), version: z.number(), kills: z.boolean().optional() }),
  handler: ({ attributes, data, context }) =>
    transaction(context, async (tx) => {
      if (!(await oncePerEvent(tx, name, attributes.id))) return
      await tx`
        insert into effects (event_id, product_id, version) values (${attributes.id}, ${data.productId}, ${data.version})`
      // Long enough to be killed in the middle of it.
      await sleep(5)
      if (data.kills) process.kill(process.pid, 'SIGKILL')
    }),
})

// Its group takes a member that was killed for dead after 3 s rather than 10: that much less to wait for.
tuneConsumers({ sessionTimeout: 3_000, heartbeatInterval: 300, maxWaitTimeInMs: 50 })

await runProcess(() => startHost(definition, startStream))
