import type { IHeaders, KafkaMessage, Message } from 'kafkajs'
import * as z from 'zod'
import { decimalInteger } from '#input'
import { baggageOf, childTrace, type StoredTrace, traceHeaders } from '#telemetry'
import type { Entry } from '../delivery/backlog.ts'
import { type Subscription, wants } from '../delivery/subscription.ts'
import type { LoggedEvent } from '../postgres/log.ts'

/** An event in the outbox. Its data is the text as stored. */
export interface OutboxRow extends StoredTrace {
  sequence: number
  topic: string
  id: string
  type: string
  productId: string
  version: number
  data: string
  occurredAt: Date
}

/** A row that can't become a message, or a message that is not an event. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable'
}

/**
 * A CloudEvent in Kafka's binary mode, keyed by the product: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
 * `ce_version`, an extension, counts the product's events. Throws Unreadable.
 */
export function toMessage(row: OutboxRow): Message {
  if (Number.isNaN(row.occurredAt.getTime())) throw new Unreadable('occurred_at is not a time')
  const headers: IHeaders = {
    ce_specversion: '1.0',
    ce_id: row.id,
    ce_source: `/topics/${row.topic}`,
    ce_type: row.type,
    ce_subject: row.productId,
    ce_time: row.occurredAt.toISOString(),
    ce_version: String(row.version),
    'content-type': 'application/json',
    ...traceHeaders(row),
  }
  return { key: row.productId, value: row.data, headers }
}

/** The headers of an event's message. */
export const EventHeaders = z.object({
  ce_specversion: z.literal('1.0'),
  ce_id: z.string().min(1).describe('The same each time that the event comes.'),
  ce_type: z.string().min(1),
  ce_subject: z.string().min(1).describe('The product.'),
  ce_time: z.iso.datetime({ offset: true }),
  ce_version: decimalInteger({ min: 0, max: Number.MAX_SAFE_INTEGER }).describe(
    'Counts the events of the product; +1 each time.',
  ),
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
  baggage: z.string().optional().describe('W3C Baggage: entries of the request with the keys of BAGGAGE_KEYS.'),
})

/** A message of a partition. */
export interface MessageEntry extends Entry {
  message: KafkaMessage
}

/** The content is undefined if the group does not want the message. A message that is not an event is dead-lettered, whether wanted or not. */
export function toEntry(message: KafkaMessage, partition: number, subscription: Subscription): MessageEntry {
  const { key, offset, headers } = message
  const type = headers?.ce_type?.toString()
  const isWanted = type === undefined || wants(subscription, type)
  return {
    position: Number(offset),
    key: key?.toString() ?? '',
    content: isWanted ? toContent(message, partition) : undefined,
    message,
  }
}

function toContent(message: KafkaMessage, partition: number): LoggedEvent | Unreadable {
  try {
    return { ...toEvent(message), partition }
  } catch (error) {
    if (error instanceof Unreadable) return error
    throw error
  }
}

/** Throws Unreadable. */
export function toEvent({ headers = {}, value, offset }: KafkaMessage): LoggedEvent {
  const texts = Object.entries(headers).map(([name, text]) => [name, text?.toString()])
  const parsed = EventHeaders.safeParse(Object.fromEntries(texts))
  if (!parsed.success) {
    const issues = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
    throw new Unreadable(`the headers are not those of an event: ${issues.join('; ')}`)
  }
  const { ce_id, ce_type, ce_subject, ce_time, ce_version, traceparent, tracestate, baggage } = parsed.data
  return {
    position: Number(offset),
    id: ce_id,
    type: ce_type,
    productId: ce_subject,
    version: ce_version,
    data: parseData(value),
    occurredAt: new Date(ce_time),
    traceparent: traceparent ?? childTrace(undefined).traceparent,
    tracestate: tracestate ?? null,
    // The topic may have other producers, and this baggage is kept if the event dies.
    baggage: baggageOf(baggage) ?? null,
  }
}

function parseData(value: Buffer | null): unknown {
  if (value === null) throw new Unreadable('there is no data')
  try {
    return JSON.parse(value.toString())
  } catch (error) {
    throw new Unreadable(`the data is not JSON: ${(error as Error).message}`)
  }
}
