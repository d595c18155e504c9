import { randomUUID } from 'node:crypto'
import type { ConfirmChannel, Message, Options } from 'amqplib'
import type { Address } from './queues.ts'

/** Resolves once a message is safe in a queue. Rejects if it is not, or if this can't be known. */
export type Publish = (address: Address, content: Buffer, properties: Options.Publish) => Promise<void>

/** Creates a channel's `Publish`. Call it once per channel. */
export function createPublisher(channel: ConfirmChannel): Publish {
  // The broker returns a message that it can't route before it confirms the message.
  const returned = new Set<string>()
  channel.on('return', (message: Message) => returned.add(message.properties.messageId))
  return ({ exchange, routingKey }, content, properties) =>
    new Promise((resolve, reject) => {
      const messageId = properties.messageId ?? randomUUID()
      const options = { ...properties, messageId, persistent: true, mandatory: true }
      channel.publish(exchange, routingKey, content, options, (error: unknown) => {
        if (error) reject(error)
        else if (returned.delete(messageId))
          reject(new Error(`no queue gets '${routingKey}' from the exchange '${exchange}'`))
        else resolve()
      })
    })
}
