import type { Message, TopicMessages } from 'kafkajs'
import { type OutboxRow, toMessage, Unreadable } from './message.ts'
import type { KafkaSender } from './producer.ts'

/** How batches are sent, and until when. */
export interface Sending {
  sender: KafkaSender
  /** In front of the names of topics. */
  prefix: string
  /** When nothing more is begun, by `performance.now()`. */
  deadline: number
}

export interface Batch {
  sent: OutboxRow[]
  /** The first event that was refused, of each product that has one. */
  refused: Map<string, { row: OutboxRow; reason: string }>
  /** How many were refused together, the last time that there were several. */
  refusedTogether: number
}

export const createBatch = (): Batch => ({ sent: [], refused: new Map(), refusedTogether: 0 })

export const isLate = ({ deadline }: Sending) => performance.now() > deadline

/** The broker has failed, rather than refused an event: nothing is wrong with what was sent. */
export class SendFailed extends Error {
  override readonly name = 'SendFailed'
}

/**
 * Sends rows in their order. Where they are refused their two halves are sent, until the one that is at fault is by itself; what
 * comes behind that for the same product is left alone. Throws SendFailed.
 */
export async function sendRows(sending: Sending, rows: readonly OutboxRow[], batch: Batch): Promise<void> {
  const sendable = rows.filter(({ productId }) => !batch.refused.has(productId))
  const [first] = sendable
  if (!first || isLate(sending)) return
  try {
    await sending.sender.send(toTopicMessages(sendable, sending.prefix))
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
 * What a broker says of a message that it will never take: https://kafka.apache.org/protocol#protocol_error_codes. INVALID_TIMESTAMP is not
 * among them: the driver stamps messages with this machine's clock, so where that is wrong no event is at fault.
 */
const REFUSALS = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_RECORD'])

/** Why a message was refused; undefined where it is the broker, or the way there, that has failed. */
function refusalOf(error: unknown): string | undefined {
  if (error instanceof Unreadable) return error.message
  if (!(error instanceof Error)) return undefined
  const { type, message } = error as Error & { type?: unknown }
  if (typeof type === 'string' && REFUSALS.has(type)) return `${type}: ${message}`
  return refusalOf(error.cause)
}
