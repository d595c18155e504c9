import * as z from 'zod'
import { defineSettings } from '#config'
import { decimalInteger } from '#input'

export interface KafkaSettings {
  adapter: 'kafka'
  url: string
  brokers: string[]
  /** The prefix of the names of topics and groups. */
  prefix: string
  /** The number of partitions of a topic that this service creates. */
  partitions: number
}

export type EventsSettings = { adapter: 'postgres' } | KafkaSettings

/** A consumer works on several partitions at once. A group can use as many consumers as there are partitions. */
const PARTITIONS = 12
const PARTITIONS_MAX = 1_000

const MESSAGE = 'must be postgres: (the log in the database) or kafka://host:port[,host:port]'

const parametersSchema = z.strictObject({
  prefix: z
    .string()
    .regex(/^[\w.-]{0,100}$/)
    .default(''),
  partitions: decimalInteger({ min: 1, max: PARTITIONS_MAX }).default(PARTITIONS),
})

const settingsSchema = z.object({
  EVENTS_URL: z
    .string()
    .default('postgres:')
    .transform((url, context): EventsSettings => {
      const settings = url === 'postgres:' ? { adapter: 'postgres' as const } : parseKafkaUrl(url)
      if (settings) return settings
      context.addIssue(MESSAGE)
      return z.NEVER
    }),
})

/** Where events are published and read. Throws a ConfigError. */
export const eventsSettings = defineSettings(settingsSchema, ({ EVENTS_URL }) => EVENTS_URL)

/** Does not use `URL`, which refuses a list of brokers. Undefined for anything other than kafka://. */
export function parseKafkaUrl(url: string): KafkaSettings | undefined {
  const [, hosts = '', query = ''] = /^kafka:\/\/([\w.:,[\]-]+)\/?(?:\?(.*))?$/.exec(url) ?? []
  const brokers = hosts.split(',')
  const parameters = parametersSchema.safeParse(Object.fromEntries(new URLSearchParams(query)))
  if (!parameters.success || !brokers.every((broker) => /^.+:\d+$/.test(broker))) return undefined
  return { adapter: 'kafka', url, brokers, ...parameters.data }
}
