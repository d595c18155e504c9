import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ChannelModel, ConfirmChannel, ConsumeMessage, Message, Options } from 'amqplib'
import { logger } from '#telemetry'
import type { BrokerSettings } from '../settings.ts'
import { createAcknowledger } from './acknowledge.ts'
import { type Address, declareQueue, type Queue, queuesOf } from './queues.ts'

/** One connection to the broker and one channel. It does not heal: when it is closed, another is opened. */
export interface Broker {
  isOpen: () => boolean
  /** Resolves with the end of the connection, whatever it came of. */
  closed: Promise<void>
  /** Resolves once the broker takes messages; rejects if it does not within some seconds. */
  ready: () => Promise<void>
  /** Makes sure that the queue is there. */
  declare: (queue: Queue) => Promise<void>
  /** Resolves once the broker has the message safe in a queue. Rejects if it has not, or if that can't be known. */
  send: (address: Address, content: Buffer, properties: Options.Publish) => Promise<void>
  /** How many messages wait in a queue, those in somebody's hands not counted. Throws where there is no such queue. */
  count: (queue: string) => Promise<number>
  /** Takes messages from a queue, `prefetch` at most that are not acknowledged. Gives what ends that. */
  consume: (
    queue: string,
    prefetch: number,
    onMessage: (message: ConsumeMessage) => void,
  ) => Promise<() => Promise<void>>
  /** Lets the broker forget a message, unless the connection that it came over is closed. */
  acknowledge: (message: ConsumeMessage) => void
  /** Ends the connection at once, without a word to the broker: it may not be there. */
  destroy: (reason: string) => void
  /** What was delivered and not acknowledged is delivered again, elsewhere perhaps. */
  close: () => Promise<void>
}

const CONNECT_MAX_MS = 5_000
const CLOSE_MAX_MS = 2_000
/** A broker may run out of memory or disk, and then takes nothing for as long as that lasts. */
const BLOCKED_MAX_MS = 5_000
/** A peer that has vanished without a word is noticed within twice this. */
const HEARTBEAT_SECONDS = 10

/** Connects, and makes sure that the queues are there. */
export async function openBroker({ url, queue }: BrokerSettings): Promise<Broker> {
  const connection = await connectTo(url).catch((error) => {
    throw explained(error, queue)
  })
  const destroy = (reason: string) => destroyStream(connection, new Error(reason))
  try {
    return await withinTime({ destroy }, CONNECT_MAX_MS, async () => {
      const channel = await connection.createConfirmChannel()
      listenForErrors(channel, 'channel')
      for (const each of queuesOf(queue).all()) await declareQueue(channel, each)
      return createBroker(connection, channel, destroy)
    })
  } catch (error) {
    destroy('the queues could not be declared')
    throw explained(error, queue)
  }
}

/** What the broker refuses by right is not mended by another attempt: the failure says what is missing. */
function explained(error: unknown, queue: string): unknown {
  const { message } = error as Error
  // The driver keeps the reason to itself.
  if (message.includes('got <ConnectionClose'))
    return new Error('RabbitMQ has no such virtual host as JOBS_URL names, or not for its user')
  if (/Handshake terminated by server: 403/.test(message))
    return new Error('RabbitMQ refuses the user and password of JOBS_URL')
  if (!/ACCESS_REFUSED/.test(message)) return error
  const own = `'^${queue.replaceAll('.', '\\.')}\\.'`
  const permissions = `${own} '^(amq\\.default$|${queue.replaceAll('.', '\\.')}\\.)' ${own}`
  return new Error(`${message}: the user of JOBS_URL needs rabbitmqctl set_permissions -p VHOST USER ${permissions}`)
}

/** Ends the connection when `work` takes longer than that, which ends the work. */
export async function withinTime<Result>(
  { destroy }: Pick<Broker, 'destroy'>,
  limitMs: number,
  work: () => Promise<Result>,
): Promise<Result> {
  const timer = setTimeout(() => destroy('the broker does not answer'), limitMs)
  try {
    return await work()
  } finally {
    clearTimeout(timer)
  }
}

/** The driver is loaded by those who use it. */
async function connectTo(url: string): Promise<ChannelModel> {
  const { connect } = await import('amqplib')
  const complete = new URL(url)
  if (!complete.searchParams.has('heartbeat')) complete.searchParams.set('heartbeat', String(HEARTBEAT_SECONDS))
  const connection = await connect(complete.href, { timeout: CONNECT_MAX_MS, noDelay: true })
  listenForErrors(connection, 'connection')
  return connection
}

/** Whoever uses it learns of its end; without listeners an error would end the process. */
function listenForErrors(emitter: ChannelModel | ConfirmChannel, what: string): void {
  emitter.on('error', (error: Error) => logger().warn({ err: error }, `the ${what} to the broker failed`))
  emitter.on('handler-error', (error: Error) => logger().error({ err: error }, `a listener of the ${what} failed`))
}

/** The driver's `close` asks the broker, and waits for its answer; its socket has no other way out. */
function destroyStream(connection: ChannelModel, error: Error): void {
  const { stream } = connection.connection as unknown as { stream: { destroy: (error: Error) => void } }
  stream.destroy(error)
}

function createBroker(connection: ChannelModel, channel: ConfirmChannel, destroy: (reason: string) => void): Broker {
  let isOpen = true
  let isBlocked = false
  const closed = new Promise<void>((resolve) => {
    const end = () => {
      isOpen = false
      resolve()
    }
    connection.on('close', end)
    // A channel that the broker has closed leaves nothing to do on its connection.
    channel.on('close', () => {
      destroy('the channel was closed')
      end()
    })
  })
  connection.on('blocked', (reason) => {
    isBlocked = true
    logger().warn({ reason }, 'the broker takes no messages for now')
  })
  connection.on('unblocked', () => {
    isBlocked = false
  })
  // The broker returns what it can't route before it confirms it.
  const returned = new Set<string>()
  channel.on('return', (message: Message) => returned.add(message.properties.messageId))
  const acknowledger = createAcknowledger(channel, () => isOpen)
  return {
    isOpen: () => isOpen,
    closed,
    async ready() {
      const deadline = performance.now() + BLOCKED_MAX_MS
      while (isOpen && isBlocked && performance.now() < deadline) await sleep(50)
      if (!isOpen || isBlocked) throw new Error('the broker takes no messages')
    },
    declare: (queue) => declareQueue(channel, queue),
    send: ({ exchange, routingKey }, content, properties) =>
      new Promise((resolve, reject) => {
        const messageId = properties.messageId ?? randomUUID()
        const options = { ...properties, messageId, persistent: true, mandatory: true }
        channel.publish(exchange, routingKey, content, options, (error: unknown) => {
          if (error) reject(error)
          else if (returned.delete(messageId))
            reject(new Error(`no queue gets '${routingKey}' from the exchange '${exchange}'`))
          else resolve()
        })
      }),
    count: async (queue) => (await channel.checkQueue(queue)).messageCount,
    async consume(queue, prefetch, onMessage) {
      await channel.prefetch(prefetch)
      const { consumerTag } = await channel.consume(queue, (message) => {
        if (!message) return destroy('the queue is gone')
        acknowledger.note(message)
        onMessage(message)
      })
      return async () => {
        if (isOpen)
          await withinTime({ destroy }, CLOSE_MAX_MS, () => Promise.race([channel.cancel(consumerTag), closed]))
      }
    },
    acknowledge: acknowledger.acknowledge,
    destroy,
    async close() {
      if (!isOpen) return
      acknowledger.flush()
      isOpen = false
      // Its own promise is forgotten where the connection breaks meanwhile.
      connection.close().catch(() => {})
      await withinTime({ destroy }, CLOSE_MAX_MS, () => closed)
    },
  }
}
