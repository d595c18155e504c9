import type { ConsumeMessage } from 'amqplib'
import { fullJitter, jittered, pause } from '#async'
import { counter, logger } from '#telemetry'
import { type Hand, handBackSafely } from '../in-flight.ts'
import { watchQueue } from '../postgres/rescuer.ts'
import { jobTypes } from '../schema.ts'
import type { BrokerSettings } from '../settings.ts'
import { createSlots, type Slots } from '../slots.ts'
import type { Worker } from '../worker.ts'
import { type Broker, openBroker, withinTime } from './broker.ts'
import { claimDelivery, type Delivery, readDelivery } from './deliveries.ts'
import { queuesOf } from './queues.ts'

const RECONNECT = { baseMs: 100, maxMs: 5_000 }
/** A healthy broker takes some milliseconds for it. */
const SUBSCRIBE_MAX_MS = 5_000
/** A claim fails while the database is away. Its message is kept meanwhile: given back, it would come again at once. */
const CLAIM_AGAIN_MS = 1_000

const buried = counter('job_messages_buried_total', 'Messages that told of no job, and went to the dead ones.')

interface Consumer {
  settings: BrokerSettings
  hand: Hand
  /** A prefetch bounds what comes over one connection; what is in hand from the one before counts as well. */
  slots: Slots
  signal: AbortSignal
  /** What is not in hand yet: claims that are being made, or given back because it is too late for them. */
  claiming: Set<Promise<unknown>>
}

/** Works what the broker delivers. Without the broker, what is in hand goes on; it is looked for until it is back. */
export function consume(settings: BrokerSettings, hand: Hand): Worker {
  const stopping = new AbortController()
  const { signal } = stopping
  const claiming = new Set<Promise<unknown>>()
  const running = consumeUntil({ settings, hand, signal, slots: createSlots(), claiming })
  const watching = watchQueue()
  return {
    async stop() {
      stopping.abort()
      const broker = await running
      await Promise.all([watching.stop(), hand.drain(), ...claiming])
      // What was not acknowledged goes back into the queue, behind the hand-back of its job.
      await broker?.close()
    },
  }
}

/** Gives the connection that it used last, open still if nothing went wrong: there may be something to acknowledge on it. */
async function consumeUntil(consumer: Consumer): Promise<Broker | undefined> {
  const { settings, signal } = consumer
  let broker: Broker | undefined
  for (let failures = 0; !signal.aborted; ) {
    const startedAt = performance.now()
    try {
      const opening = openBroker(settings)
      broker = await unlessAborted(opening, signal)
      if (broker) await consumeFrom(broker, consumer)
      else opening.then(({ close }) => close()).catch(() => {})
    } catch (error) {
      logger().error({ reason: (error as Error).message }, 'the broker does not answer')
      broker?.destroy('it is of no use any more')
    }
    failures = performance.now() - startedAt > RECONNECT.maxMs ? 0 : failures + 1
    await pause(fullJitter(failures, RECONNECT), signal)
  }
  return broker
}

/** Until the connection ends, or it is to stop: then it takes no more messages. */
async function consumeFrom(broker: Broker, consumer: Consumer): Promise<void> {
  const { settings, signal } = consumer
  const cancels: Array<() => Promise<void>> = []
  await withinTime(broker, SUBSCRIBE_MAX_MS, async () => {
    for (const [type, { concurrency }] of Object.entries(jobTypes)) {
      const onMessage = (message: ConsumeMessage) => void take(message, type, broker, consumer)
      cancels.push(await broker.consume(queuesOf(settings.queue).work(type), concurrency, onMessage))
    }
  })
  await unlessAborted(broker.closed, signal)
  await Promise.all(cancels.map((cancel) => cancel()))
}

/** Never throws. A message that is not acknowledged here comes again when the connection ends. */
async function take(message: ConsumeMessage, type: string, broker: Broker, consumer: Consumer): Promise<void> {
  const { hand, slots, claiming } = consumer
  const delivery = readDelivery(message)
  if ('reason' in delivery) return bury(message, delivery.reason, broker, consumer)
  // The connection was lost, and the message came back to the process that has its job in hand.
  if (delivery.isAgain && hand.holds(`${delivery.messageId}:`)) return broker.acknowledge(message)
  await slots.enter(type)
  try {
    const making = claimPatiently(delivery, broker, consumer)
    claiming.add(making)
    const claim = await making.finally(() => claiming.delete(making))
    if (claim === 'left') return
    if (claim === 'unknown') return await bury(message, 'There is no such job.', broker, consumer)
    if (claim !== 'none' && !(await hand.work(claim))) return
    broker.acknowledge(message)
  } finally {
    slots.leave(type)
  }
}

async function claimPatiently(delivery: Delivery, broker: Broker, { signal }: Consumer) {
  // For as long as the message is this process's: the broker takes back what is not acknowledged in half an hour.
  while (broker.isOpen() && !signal.aborted) {
    try {
      const claim = await claimDelivery(delivery)
      if (typeof claim === 'string' || !signal.aborted) return claim
      await handBackSafely([claim])
    } catch (error) {
      logger().error({ job: delivery.jobId, err: error }, 'the job could not be claimed')
      await pause(jittered(CLAIM_AGAIN_MS), signal)
    }
  }
  return 'left'
}

/** Puts a message that nobody can work on among the dead ones, with the reason, for somebody to look at. */
async function bury(message: ConsumeMessage, reason: string, broker: Broker, { settings }: Consumer): Promise<void> {
  const { messageId, type, contentType, headers } = message.properties
  logger().error({ message: messageId, type, reason }, 'a message is dead')
  try {
    const dead = { messageId, type, contentType, headers: { ...headers, reason } }
    await broker.send({ exchange: '', routingKey: queuesOf(settings.queue).dead }, message.content, dead)
    buried.inc()
    broker.acknowledge(message)
  } catch (error) {
    logger().error({ err: error }, 'a dead message could not be kept')
    broker.destroy('it does not keep dead messages')
  }
}

/** What the promise gives, or undefined as soon as `signal` is aborted. */
async function unlessAborted<Result>(promise: Promise<Result>, signal: AbortSignal): Promise<Result | undefined> {
  let abort = () => {}
  const aborted = new Promise<undefined>((resolve) => {
    abort = () => resolve(undefined)
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
