import { createServer } from 'node:http'
import { Kafka, logLevel } from 'kafkajs'
import { stopIdleTimers } from '../../../shared/events/kafka/idle-timer.ts'
import { kafkaSettings } from '../../../shared/events/testing/kafka.ts'

/** A consumer with nothing to do, and its CPU time: with the timers of KafkaJS, or without. */
const { brokers, prefix } = kafkaSettings(process.env.EVENTS_URL ?? '')
if (process.env.PATCHED === '1') await stopIdleTimers()

const consumer = new Kafka({ brokers, logLevel: logLevel.NOTHING }).consumer({
  groupId: `${prefix}idle-${process.env.PATCHED}`,
  heartbeatInterval: 1_000,
  maxWaitTimeInMs: 500,
})
await consumer.connect()
await consumer.subscribe({ topic: `${prefix}product-events` })
await consumer.run({ eachBatch: async () => {} })

const server = createServer((_, response) => {
  const { user, system } = process.cpuUsage()
  response.end(`process_cpu_seconds_total ${(user + system) / 1e6}\n`)
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}` })}\n`)
})
// The consumer holds nothing that has to be closed.
process.once('SIGTERM', () => process.exit(0))
