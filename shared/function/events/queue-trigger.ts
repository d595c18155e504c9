import { inBatches } from '#async'
import type { Outcome } from '#errors'
import { brokerSettings, type Claim, work } from '#jobs'
import type { FunctionDefinition } from '../definition.ts'
import { deliverBatch } from './deliver-batch.ts'
import { deliver, type RunningTrigger } from './trigger.ts'

/** Works on a queue function's queue. Throws a ConfigError. */
export function startQueue(definition: FunctionDefinition): RunningTrigger {
  const { trigger } = definition
  if (trigger.kind !== 'queue') throw new Error(`${definition.name} is not a queue function`)
  const { queue, batch } = trigger
  const deliverOne = (claim: Claim) => {
    const { attributes, data, ...message } = toEvent(queue, claim)
    return deliver(definition, attributes, data, message)
  }
  if (!batch) return work({ queue, deliver: deliverOne })
  const deliverTogether = inBatches(batch, async (claims: Claim[]): Promise<Outcome[]> => {
    const outcomes = await deliverBatch(
      definition,
      claims.map((claim) => toEvent(queue, claim)),
    )
    return 'verdict' in outcomes ? claims.map(() => outcomes) : outcomes
  })
  // A job that has failed is delivered alone: another job may have made it fail, or it the others.
  return work({ queue, deliver: (claim) => (claim.attempts > 1 ? deliverOne(claim) : deliverTogether(claim)) })
}

function toEvent(queue: string, claim: Claim) {
  const { id, jobId } = claim
  const attributes = { id, source: `/queues/${queue}`, specversion: '1.0', type: 'job.due', subject: jobId } as const
  const broker = brokerSettings()
  const system = broker ? 'rabbitmq' : 'postgresql'
  return { attributes, data: { jobId }, system, destination: queue, server: broker?.server, id: jobId, trace: claim }
}
