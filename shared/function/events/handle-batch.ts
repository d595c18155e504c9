import * as z from 'zod'
import { systemContext, toPublicError } from '#database'
import { invalid } from '#errors'
import { validate } from '#input'
import { baggageOf, childTrace, traceIdOf, tracing } from '#telemetry'
import { noteEventFailure, toServiceError } from '../problem.ts'
import { type BatchAnswer, isFinal } from './batch-answer.ts'
import { CloudEventAttributes } from './cloud-event.ts'
import type { BatchOptions, ReceivedEvent } from './event-options.ts'

/** An event in JSON. */
const StructuredEvent = CloudEventAttributes.extend({
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
  baggage: z.string().optional(),
  data: z.unknown(),
})

/**
 * Passes the events of a batch to the function, except for unfit ones, and returns which are to be delivered again and which never. Throws
 * `validation_failed` if the content is not a batch, and whatever the handler throws.
 */
export async function handleBatch<Data extends z.ZodType>(
  definition: BatchOptions<Data>,
  content: unknown,
): Promise<BatchAnswer> {
  const { name, batch, handler } = definition
  if (!Array.isArray(content)) throw invalid('', 'must be an array of events')
  if (content.length > batch.max) throw invalid('', `must not have more than ${batch.max} events`)
  const answer: BatchAnswer = { retry: [], reject: [] }
  const received: Array<{ index: number; event: ReceivedEvent<z.infer<Data>> }> = []
  const fail = (index: number, id: string, thrown: unknown, trace = childTrace(undefined)) => {
    const error = toServiceError(toPublicError(thrown))
    const { code, status, detail } = error
    noteEventFailure(name, error, thrown, { event: id, trace_id: traceIdOf(trace) })
    answer[isFinal(status) ? 'reject' : 'retry'].push({ index, id, status, code, detail })
  }
  for (const [index, item] of content.entries()) {
    try {
      received.push({ index, event: toReceived(definition, item) })
    } catch (error) {
      fail(index, idOf(item), error)
    }
  }
  const results = received.length > 0 ? await handler(received.map(({ event }) => event)) : []
  if (results.length !== received.length)
    throw new Error(`${name} gave ${results.length} results for ${received.length} events`)
  for (const [at, { index, event }] of received.entries()) {
    const result = results[at]
    if (result?.status === 'rejected') fail(index, event.attributes.id, result.reason, event.context.trace)
  }
  return answer
}

/** Throws `validation_failed`. */
function toReceived<Data extends z.ZodType>(
  { name, data }: BatchOptions<Data>,
  item: unknown,
): ReceivedEvent<z.infer<Data>> {
  const { traceparent, tracestate, baggage: header, data: content, ...attributes } = validate(StructuredEvent, item)
  const baggage = baggageOf(header)
  // A span is made for each event before it arrives here.
  const context = systemContext(
    `function:${name}`,
    tracing() && traceparent ? { traceparent, tracestate, baggage } : childTrace(traceparent, tracestate, baggage),
  )
  return { attributes, data: validate(data, content), context }
}

function idOf(item: unknown): string {
  const id = item !== null && typeof item === 'object' && 'id' in item ? item.id : ''
  return typeof id === 'string' ? id : ''
}
