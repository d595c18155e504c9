import * as z from 'zod'

const Count = z.number().int().nonnegative()
const Milliseconds = z.number().nonnegative().nullable()

/** A process that serves a function, and what it has answered in the last five minutes. */
export const Instance = z
  .object({
    url: z.string().optional().describe('Where it is; left out where all functions share one process.'),
    health: z
      .enum(['ok', 'unavailable', 'unknown'])
      .describe('`unavailable`: it is down, or not ready; `unknown`: it did not say in time.'),
    inFlight: Count.describe('Requests or deliveries that it is working on.'),
    requests: Count.describe('Requests or deliveries that it has answered in the last five minutes.'),
    errors: Count.describe('How many of them it has answered with 5xx.'),
    p50Ms: Milliseconds.describe('Half of them took no longer; null where there were none.'),
    p99Ms: Milliseconds.describe('All but a hundredth of them took no longer; null where there were none.'),
    startedAt: z.iso.datetime().nullable().describe('When its process started; null where it does not say.'),
    version: z.string().nullable().describe('The content hash of its bundle; null where it runs from source.'),
  })
  .meta({ id: 'FunctionInstance' })
export type Instance = z.infer<typeof Instance>
export type Health = Instance['health']
