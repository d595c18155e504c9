import type { Channel, ConsumeMessage } from 'amqplib'

export interface Acknowledger {
  /** Call it with each message as it is delivered. */
  note: (message: ConsumeMessage) => void
  acknowledge: (message: ConsumeMessage) => void
  /** Sends at once the acknowledgements that would be sent at the end of the turn. */
  flush: () => void
}

/**
 * Acknowledges together the messages that are done in one turn of the event loop, as far as they were delivered in a row: one command to the broker
 * instead of some hundred. Messages behind a longer job are acknowledged one by one. Nothing is sent on a closed channel.
 */
export function createAcknowledger(channel: Pick<Channel, 'ack'>, isOpen: () => boolean): Acknowledger {
  const outstanding = new Map<number, ConsumeMessage>()
  const done = new Set<number>()

  function flush(): void {
    if (!isOpen()) return
    let last: ConsumeMessage | undefined
    for (const [tag, message] of outstanding) {
      if (!done.delete(tag)) break
      outstanding.delete(tag)
      last = message
    }
    if (last) channel.ack(last, true)
    for (const tag of done) {
      const message = outstanding.get(tag)
      outstanding.delete(tag)
      if (message) channel.ack(message)
    }
    done.clear()
  }

  return {
    note: (message) => outstanding.set(message.fields.deliveryTag, message),
    acknowledge({ fields }) {
      if (done.size === 0) setImmediate(flush)
      done.add(fields.deliveryTag)
    },
    flush,
  }
}
