import type { ConsumeMessage } from 'amqplib'
import { fullJitter, jittered, pause } from '#async'
import { levelOf } from '#database'
import { counter, logger } from '#telemetry'
import { handBackSafely, type InFlightJobs } from '../attempts/in-flight.ts'
import { createSlots, type Slots } from '../attempts/slots.ts'
import { jobTypes } from '../job-types.ts'
import { startRescuer } from '../postgres/rescuer.ts'
import type { BrokerSettings } from '../settings.ts'
import type { Worker } from '../worker.ts'
import { type Broker, openBroker, withDeadline } from './broker.ts'
import { claimDelivery, type Delivery, readDelivery } from './deliveries.ts'
import { queuesOf } from './queues.ts'

const RECONNECT = { baseMs: 100, maxMs: 5_000 }
/** A healthy broker takes some milliseconds to subscribe. */
const SUBSCRIBE_MAX_MS = 5_000
/** The pause between claims while the database is away. The message is kept meanwhile: if it were requeued, it would return at once. */
const CLAIM_RETRY_MS = 1_000

const deadLettered = counter('job_messages_dead_lettered_total', 'Messages that named no job and were dead-lettered.')

interface Consumer {
  settings: BrokerSettings
  jobs: InFlightJobs
  /** A prefetch bounds one connection. Slots also count jobs in flight that came over earlier connections. */
  slots: Slots
  signal: AbortSignal
  /** Claims that are being made, or handed back because the worker is stopping. */
  claiming: Set<Promise<unknown>>
}

/** Works on the jobs that the broker delivers. While the broker is away, jobs in flight go on, and the consumer reconnects until it succeeds. */
export function consume(settings: BrokerSettings, jobs: InFlightJobs): Worker {
  const stopping = new AbortController()
  const { signal } = stopping
  const claiming = new Set<Promise<unknown>>()
  const running = consumeUntil({ settings, jobs, signal, slots: createSlots(), claiming })
  const rescuer = startRescuer()
  return {
    async stop() {
      stopping.abort()
      const broker = await running
      await Promise.all([rescuer.stop(), jobs.drain(), ...claiming])
      // Last, because unacknowledged messages return to the queue, and their jobs must be handed back by then.
      await broker?.close()
    },
  }
}

/** Returns the last connection, which stays open for acknowledgements of the jobs in flight. */
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
      logger().warn({ reason: (error as Error).message }, 'lost the broker; it will try again')
      broker?.destroy('the consumer has failed')
    }
    failures = performance.now() - startedAt > RECONNECT.maxMs ? 0 : failures + 1
    await pause(fullJitter(failures, RECONNECT), signal)
  }
  return broker
}

/** Consumes until the connection ends, or `signal` is aborted. */
async function consumeFrom(broker: Broker, consumer: Consumer): Promise<void> {
  const { settings, signal } = consumer
  const cancels: Array<() => Promise<void>> = []
  await withDeadline(broker, SUBSCRIBE_MAX_MS, async () => {
    for (const [type, { concurrency }] of Object.entries(jobTypes)) {
      const onMessage = (message: ConsumeMessage) => void take(message, type, broker, consumer)
      cancels.push(await broker.consume(queuesOf(settings.queue).work(type), concurrency, onMessage))
    }
  })
  await unlessAborted(broker.closed, signal)
  await Promise.all(cancels.map((cancel) => cancel()))
}

/** Never throws. If a message is not acknowledged here, the broker redelivers it when the connection ends. */
async function take(message: ConsumeMessage, type: string, broker: Broker, consumer: Consumer): Promise<void> {
  const { jobs, slots, claiming } = consumer
  const delivery = readDelivery(message)
  if ('reason' in delivery) return deadLetter(message, delivery.reason, broker, consumer)
  // The message came over a lost connection, and has returned to the process that runs its job.
  if (delivery.isRedelivered && jobs.hasClaim(`${delivery.messageId}:`)) return broker.acknowledge(message)
  await slots.acquire(type)
  try {
    const making = claimPatiently(delivery, broker, consumer)
    claiming.add(making)
    const claim = await making.finally(() => claiming.delete(making))
    if (claim === 'left') return
    if (claim === 'unknown') return await deadLetter(message, 'There is no such job.', broker, consumer)
    if (claim !== 'none' && !(await jobs.run(claim))) return
    broker.acknowledge(message)
  } finally {
    slots.release(type)
  }
}

async function claimPatiently(delivery: Delivery, broker: Broker, { signal }: Consumer) {
  let asked = delivery
  // If a message is not acknowledged within half an hour, the broker closes the channel, which ends this loop.
  while (broker.isOpen() && !signal.aborted) {
    try {
      const claim = await claimDelivery(asked)
      if (typeof claim === 'string' || !signal.aborted) return claim
      await handBackSafely([claim])
    } catch (error) {
      logger()[levelOf(error)]({ job: delivery.jobId, err: error }, 'could not claim the job; it will try again')
      // The job may have been claimed, and the answer lost. Then no worker runs it, as after a connection that has ended.
      asked = { ...delivery, isRedelivered: true }
      await pause(jittered(CLAIM_RETRY_MS), signal)
    }
  }
  return 'left'
}

/** Moves a message that names no job to the dead-letter queue, with the reason, for an operator. */
async function deadLetter(
  message: ConsumeMessage,
  reason: string,
  broker: Broker,
  { settings }: Consumer,
): Promise<void> {
  const { messageId, type, contentType, headers } = message.properties
  logger().error({ message: messageId, type, reason }, 'message dead-lettered')
  try {
    const dead = { messageId, type, contentType, headers: { ...headers, reason } }
    await broker.send({ exchange: '', routingKey: queuesOf(settings.queue).dead }, message.content, dead)
    deadLettered.inc()
    broker.acknowledge(message)
  } catch (error) {
    logger().warn({ err: error }, 'could not dead-letter the message; it will be redelivered')
    broker.destroy('a message could not be dead-lettered')
  }
}

/** The result of the promise, or undefined as soon as `signal` is aborted. */
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
