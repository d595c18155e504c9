import type { ChannelModel, ConfirmChannel, ConsumeMessage } from 'amqplib'
import { logger } from '#telemetry'
import type { BrokerSettings } from '../settings.ts'
import { createAcknowledger } from './acknowledge.ts'
import { type ConnectionState, followConnection } from './connection-state.ts'
import { createPublisher, type Publish } from './publisher.ts'
import { declareQueue, type Queue, queuesOf } from './queues.ts'

/** One connection to the broker with one channel. It does not reconnect: once it is closed, open another one. */
export interface Broker extends Pick<ConnectionState, 'isOpen' | 'closed' | 'ready'> {
  declare: (queue: Queue) => Promise<void>
  send: Publish
  /** The number of ready messages in a queue, without messages that are delivered and not acknowledged. Throws if there is no such queue. */
  count: (queue: string) => Promise<number>
  /** Consumes a queue, with at most `prefetch` unacknowledged messages. Returns the function that cancels it. */
  consume: (
    queue: string,
    prefetch: number,
    onMessage: (message: ConsumeMessage) => void,
  ) => Promise<() => Promise<void>>
  /** Does nothing once the connection is closed: the broker then delivers the message again. */
  acknowledge: (message: ConsumeMessage) => void
  /** Ends the connection at once, without the closing handshake: the broker may be gone. */
  destroy: (reason: string) => void
  /** The broker redelivers the messages that are not acknowledged by then. */
  close: () => Promise<void>
}

const CONNECT_MAX_MS = 5_000
const CLOSE_MAX_MS = 2_000
/** The loss of a broker is noticed within twice this time. */
const HEARTBEAT_SECONDS = 10

/** Connects, and declares the queues. Throws if the broker does not answer within 5 s, or refuses. */
export async function openBroker({ url, queue }: BrokerSettings): Promise<Broker> {
  const connection = await connectTo(url).catch((error) => {
    throw explained(error, queue)
  })
  const destroy = (reason: string) => destroyStream(connection, new Error(reason))
  try {
    return await withDeadline({ destroy }, CONNECT_MAX_MS, async () => {
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

/** An error that says what is missing if the broker refuses access: no retry will help. */
function explained(error: unknown, queue: string): unknown {
  const { message } = error as Error
  // The driver does not pass the reason on.
  if (message.includes('got <ConnectionClose'))
    return new Error('RabbitMQ does not have the virtual host of JOBS_URL, or not for its user')
  if (/Handshake terminated by server: 403/.test(message))
    return new Error('RabbitMQ refuses the user and password of JOBS_URL')
  if (!/ACCESS_REFUSED/.test(message)) return error
  const own = `'^${queue.replaceAll('.', '\\.')}\\.'`
  const permissions = `${own} '^(amq\\.default$|${queue.replaceAll('.', '\\.')}\\.)' ${own}`
  return new Error(`${message}: the user of JOBS_URL needs rabbitmqctl set_permissions -p VHOST USER ${permissions}`)
}

/** Destroys the connection, and so ends `work`, if `work` takes longer than `limitMs`. */
export async function withDeadline<Result>(
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

/** Loads the driver here, so that a process without a broker does not load it. */
async function connectTo(url: string): Promise<ChannelModel> {
  const { connect } = await import('amqplib')
  const complete = new URL(url)
  if (!complete.searchParams.has('heartbeat')) complete.searchParams.set('heartbeat', String(HEARTBEAT_SECONDS))
  const connection = await connect(complete.href, { timeout: CONNECT_MAX_MS, noDelay: true })
  listenForErrors(connection, 'connection')
  return connection
}

/** The connection's users notice its end. Without these listeners, an error would end the process. */
function listenForErrors(emitter: ChannelModel | ConfirmChannel, what: string): void {
  emitter.on('error', (error: Error) => logger().warn({ err: error }, `the ${what} to the broker failed`))
  emitter.on('handler-error', (error: Error) => logger().error({ err: error }, `a listener of the ${what} failed`))
}

/** The driver has no other way to end a connection without the closing handshake. */
function destroyStream(connection: ChannelModel, error: Error): void {
  const { stream } = connection.connection as unknown as { stream: { destroy: (error: Error) => void } }
  stream.destroy(error)
}

function createBroker(connection: ChannelModel, channel: ConfirmChannel, destroy: (reason: string) => void): Broker {
  const { isOpen, closed, ready, beginClose } = followConnection(connection, channel, destroy)
  const acknowledger = createAcknowledger(channel, isOpen)
  return {
    isOpen,
    closed,
    ready,
    declare: (queue) => declareQueue(channel, queue),
    send: createPublisher(channel),
    count: async (queue) => (await channel.checkQueue(queue)).messageCount,
    async consume(queue, prefetch, onMessage) {
      await channel.prefetch(prefetch)
      const { consumerTag } = await channel.consume(queue, (message) => {
        if (!message) return destroy('the queue was deleted')
        acknowledger.note(message)
        onMessage(message)
      })
      return async () => {
        if (isOpen())
          await withDeadline({ destroy }, CLOSE_MAX_MS, () => Promise.race([channel.cancel(consumerTag), closed]))
      }
    },
    acknowledge: acknowledger.acknowledge,
    destroy,
    async close() {
      if (!isOpen()) return
      acknowledger.flush()
      beginClose()
      // Not awaited: if the connection breaks meanwhile, the driver never settles this promise.
      connection.close().catch(() => {})
      await withDeadline({ destroy }, CLOSE_MAX_MS, () => closed)
    },
  }
}
