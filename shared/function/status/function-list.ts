import * as z from 'zod'
import { declaredFunctions } from '../declared.ts'
import type { FunctionDefinition } from '../definition.ts'
import { Instance } from './instance.ts'
import { processHealth, statusOf } from './status.ts'

const Positive = z.number().int().positive()

const Trigger = z
  .object({
    kind: z.enum(['http', 'queue', 'stream', 'schedule', 'outbox']).describe('What kind of thing calls it.'),
    method: z.string().optional().describe('Of `http`.'),
    path: z.string().optional().describe('Of `http`, with its parameters in braces.'),
    queue: z.string().optional().describe('Of `queue`: where its jobs are.'),
    topics: z.array(z.string()).optional().describe('Of `stream`: where its events are.'),
    everyMs: Positive.optional().describe('Of `schedule` and `outbox`: how often it runs.'),
  })
  .meta({ id: 'FunctionTrigger' })

/** A function, described by its definition. */
const Described = z.object({
  name: z.string().describe('Its name, which is that of its folder.'),
  summary: z.string().describe('What it does.'),
  trigger: Trigger.describe('What calls it.'),
  scope: z.string().nullable().describe('The scope that its callers need; null where no client calls it.'),
  limits: z
    .object({
      inFlight: Positive.describe('Requests or deliveries that a process works on at once.'),
      timeoutMs: Positive.describe('How long one may take.'),
      maxBodyBytes: Positive.describe('How large its body may be.'),
    })
    .meta({ id: 'FunctionLimits' })
    .describe('Bounds, of each process.'),
  emits: z.array(z.string()).describe('The types of the events that it publishes.'),
})
export type DescribedFunction = z.infer<typeof Described>

export const FunctionList = z.object({
  items: z.array(
    Described.extend({ instances: z.array(Instance).describe('The processes that serve it.') }).meta({
      id: 'DeployedFunction',
    }),
  ),
})

/** All functions of the build. The build puts this list into the bundles of functions. */
declare const BUILT_FUNCTIONS: readonly DescribedFunction[] | undefined

/**
 * Lists every function. If one process serves all functions, each has that process as its instance. A bundle does not know other processes: the
 * router adds the instances.
 */
export async function listFunctions(): Promise<z.infer<typeof FunctionList>> {
  if (typeof BUILT_FUNCTIONS !== 'undefined') {
    return { items: BUILT_FUNCTIONS.map((described) => ({ ...described, instances: [] })) }
  }
  const health = await processHealth()
  return {
    items: declaredFunctions().map((definition) => ({
      ...describeFunction(definition),
      instances: [statusOf(definition, health, null)],
    })),
  }
}

export function describeFunction({
  name,
  summary,
  trigger,
  scope,
  limits,
  emits,
}: FunctionDefinition): DescribedFunction {
  return { name, summary, trigger: described(trigger), scope: scope ?? null, limits, emits: [...emits] }
}

function described(trigger: FunctionDefinition['trigger']): DescribedFunction['trigger'] {
  const { kind } = trigger
  switch (kind) {
    case 'http':
      return { kind, method: trigger.method, path: trigger.path }
    case 'queue':
      return { kind, queue: trigger.queue }
    case 'stream':
      return { kind, topics: [...trigger.topics] }
    case 'schedule':
    case 'outbox':
      return { kind, everyMs: trigger.everyMs }
  }
}
