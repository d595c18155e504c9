import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { httpFunction, ok } from '#function'
import { runProcess, startHost } from '#function/host'

/** A function that misbehaves on demand, served as a process. The tests of the host start it. */
const definition = httpFunction({
  name: 'misbehave',
  route: 'POST /v1/misbehave',
  scope: 'admin',
  tag: 'operations',
  summary: 'Be slow, or break.',
  request: { body: z.strictObject({ sleepMs: z.number().default(0), crash: z.boolean().default(false) }) },
  responses: { 200: z.object({ slept: z.number() }) },
  limits: { timeoutMs: 1_500, inFlight: 2 },
  handler: async ({ body, context }) => {
    process.stdout.write('handling\n')
    if (body.crash) {
      setImmediate(() => {
        throw new Error('nobody catches this')
      })
    }
    await sleep(body.sleepMs)
    process.stdout.write(context.isGone() ? 'the client has gone\n' : 'the client is there\n')
    return ok({ slept: body.sleepMs })
  },
})

await runProcess(() => startHost(definition))
