import { baggageOf } from '../baggage.ts'
import { type CarriedTrace, sampledTraceId, type TraceContext } from '../trace-context.ts'
import { type Attributes, failSpan, type Span, type Tracing, traceOf } from './span.ts'
import { tracing } from './tracing.ts'

/** A message that is sent or received, as described in https://opentelemetry.io/docs/specs/semconv/messaging/ */
export interface Message {
  /** `kafka`, `rabbitmq`, or `postgresql` if a table is the log or the queue. */
  system: string
  /** The topic or the queue. */
  destination: string
  id: string
  trace: CarriedTrace
  /** The broker, if there is one that all messages pass. */
  server?: Server | undefined
  /** The message's place in Kafka. */
  at?: { partition: number; offset: number } | undefined
}

export interface Server {
  host: string
  port: number
}

/**
 * The trace that a message carries, however much later the message is sent. If the trace of the request that causes the message is recorded, it is
 * that of a span which creates the message. All spans that send or process the message link to that span.
 */
export function traceOfMessage(trace: TraceContext, message: Omit<Message, 'trace'>): TraceContext {
  const on = tracing()
  if (!on || !isRecorded(trace)) return trace
  const attributes = { ...attributesOf('create', message), 'messaging.message.id': message.id }
  const span = on.start(`create ${message.destination}`, { kind: 'producer', parent: trace, attributes })
  span.end()
  return traceOf(span, trace.baggage)
}

/** The headers of a message that passes a trace on, with the baggage that may still be passed on. */
export function traceHeaders({ traceparent, tracestate, baggage: stored }: CarriedTrace): Record<string, string> {
  const headers: Record<string, string> = { traceparent }
  if (tracestate) headers.tracestate = tracestate
  const baggage = baggageOf(stored)
  if (baggage) headers.baggage = baggage
  return headers
}

/** Sends messages in a trace for each destination, which links to the recorded traces of the messages. */
export async function inSendSpans<Result>(
  messages: () => readonly Message[],
  work: () => Promise<Result>,
  startedAt?: number,
): Promise<Result> {
  const on = tracing()
  if (!on) return work()
  const spans = startSends(on, messages(), startedAt)
  try {
    return await on.run(spans[0], work)
  } catch (error) {
    for (const span of spans) failSpan(span, error)
    throw error
  } finally {
    for (const span of spans) span.end(performance.now())
  }
}

function startSends(on: Tracing, messages: readonly Message[], startedAt = performance.now()): Span[] {
  const recorded = messages.filter(({ trace }) => isRecorded(trace))
  return [...new Set(recorded.map(({ destination }) => destination))].flatMap((destination) => {
    const sent = messages.filter((message) => message.destination === destination)
    const links = recorded.filter((message) => message.destination === destination).map(({ trace }) => trace)
    const [first] = sent
    const attributes = first && { ...attributesOf('send', first), 'messaging.batch.message_count': sent.length }
    return attributes
      ? on.start(`send ${destination}`, { kind: 'producer', parent: null, links, attributes, startedAt })
      : []
  })
}

/** The span of the function that processes a message: a child of the span that created the message, and linked with it. */
export function startProcess(on: Tracing, group: string, message: Message): Span {
  const { destination, id, trace, at } = message
  return on.start(`process ${destination}`, {
    kind: 'consumer',
    parent: trace,
    links: [trace],
    attributes: {
      ...attributesOf('process', message),
      'messaging.message.id': id,
      'messaging.consumer.group.name': group,
      ...(at && { 'messaging.destination.partition.id': String(at.partition), 'messaging.kafka.offset': at.offset }),
    },
  })
}

/** The span of all messages that are processed together, in a trace of its own, linked with their spans. */
export function startProcessTogether(on: Tracing, group: string, messages: readonly Message[], links: Span[]): Span {
  const [first = { system: '', destination: '' }] = messages
  return on.start(`process ${first.destination} together`, {
    kind: 'consumer',
    parent: null,
    links,
    attributes: {
      ...attributesOf('process', first),
      'messaging.batch.message_count': messages.length,
      'messaging.consumer.group.name': group,
    },
  })
}

export function isRecorded({ traceparent }: CarriedTrace): boolean {
  return sampledTraceId(traceparent) !== undefined
}

type Passed = Pick<Message, 'system' | 'destination' | 'server'>

function attributesOf(operation: string, { system, destination, server }: Passed): Attributes {
  return {
    'messaging.system': system,
    'messaging.destination.name': destination,
    'messaging.operation.name': operation,
    'messaging.operation.type': operation,
    ...(server && { 'server.address': server.host, 'server.port': server.port }),
  }
}
