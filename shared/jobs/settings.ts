import * as z from 'zod'
import { defineSettings } from '#config'

const EMBEDDED = 'postgres:'

const settingsSchema = z.object({
  JOBS_URL: z
    .string()
    .default(EMBEDDED)
    .refine(
      (url) => url === EMBEDDED || (URL.canParse(url) && /^amqps?:$/.test(new URL(url).protocol)),
      'must be postgres: (the queue in the database) or an amqp:// URL',
    ),
  /** The prefix of the broker's queues. A queue's arguments can't be changed, so other arguments need another prefix. */
  JOBS_QUEUE: z
    .string()
    .regex(/^[\w.-]{1,100}$/, 'must be letters, digits, dots, dashes and underscores, 100 at most')
    .default('jobs'),
})

export interface BrokerSettings {
  url: string
  queue: string
  /** The server in the URL, for spans. */
  server: { host: string; port: number }
}

const settings = defineSettings(settingsSchema, ({ JOBS_URL: url, JOBS_QUEUE: queue }) => ({
  broker: url === EMBEDDED ? undefined : { url, queue, server: serverOf(new URL(url)) },
}))

function serverOf({ hostname: host, port, protocol }: URL) {
  return { host, port: Number(port || (protocol === 'amqps:' ? 5_671 : 5_672)) }
}

/** The broker that delivers jobs; undefined if the table is the queue. Throws a ConfigError. */
export function brokerSettings(): BrokerSettings | undefined {
  return settings().broker
}
