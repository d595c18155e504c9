import type { Message, TopicMessages } from 'kafkajs'
import { inSendSpans } from '#telemetry'
import { type OutboxRow, toMessage, Unreadable } from './message.ts'
import type { KafkaSender } from './producer.ts'

/** How batches are sent, and until when. */
export interface Sending {
  sender: KafkaSender
  /** The prefix of topic names. */
  prefix: string
  /** No send is begun after this time, by `performance.now()`. */
  deadline: number
}

export interface Batch {
  sent: OutboxRow[]
  /** The first refused event of each product. */
  refused: Map<string, { row: OutboxRow; reason: string }>
  /** The size of the last refused request with several events. */
  refusedTogether: number
}

export const createBatch = (): Batch => ({ sent: [], refused: new Map(), refusedTogether: 0 })

export const isLate = ({ deadline }: Sending) => performance.now() > deadline

/** The broker has failed, and has not refused an event: the events are fine. */
export class SendFailed extends Error {
  override readonly name = 'SendFailed'
}

/**
 * Sends rows in their order. Refused rows are sent again in halves, until the event at fault is alone. Later rows of that event's product are not
 * sent. Throws SendFailed.
 */
export async function sendRows(sending: Sending, rows: readonly OutboxRow[], batch: Batch): Promise<void> {
  const sendable = rows.filter(({ productId }) => !batch.refused.has(productId))
  const [first] = sendable
  if (!first || isLate(sending)) return
  try {
    await inSendSpans(
      () =>
        sendable.map((row) => ({
          system: 'kafka',
          destination: row.topic,
          id: row.id,
          trace: row,
        })),
      // Throws for an event that can't be a message.
      async () => sending.sender.send(toTopicMessages(sendable, sending.prefix)),
    )
    batch.sent.push(...sendable)
  } catch (error) {
    const reason = refusalOf(error)
    if (reason === undefined) throw new SendFailed('the broker has failed', { cause: error })
    if (sendable.length === 1) {
      batch.refused.set(first.productId, { row: first, reason })
      return
    }
    batch.refusedTogether = sendable.length
    const middle = sendable.length >> 1
    await sendRows(sending, sendable.slice(0, middle), batch)
    await sendRows(sending, sendable.slice(middle), batch)
  }
}

function toTopicMessages(rows: readonly OutboxRow[], prefix: string): TopicMessages[] {
  const messages = new Map<string, Message[]>()
  for (const row of rows) {
    const ofTopic = messages.get(row.topic)
    if (ofTopic) ofTopic.push(toMessage(row))
    else messages.set(row.topic, [toMessage(row)])
  }
  return Array.from(messages, ([topic, ofTopic]) => ({ topic: `${prefix}${topic}`, messages: ofTopic }))
}

/**
 * The errors of messages that a broker will never accept: https://kafka.apache.org/protocol#protocol_error_codes. INVALID_TIMESTAMP is not among
 * them: the driver stamps messages with this machine's clock, so the event is not at fault.
 */
const REFUSALS = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_RECORD'])

/** Why a message was refused; undefined if the broker or the connection has failed. */
function refusalOf(error: unknown): string | undefined {
  if (error instanceof Unreadable) return error.message
  if (!(error instanceof Error)) return undefined
  const { type, message } = error as Error & { type?: unknown }
  if (typeof type === 'string' && REFUSALS.has(type)) return `${type}: ${message}`
  return refusalOf(error.cause)
}
