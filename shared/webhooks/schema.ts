import * as z from 'zod'
import { eventTypes } from '#events'

type EventType = keyof typeof eventTypes

/** The events that a webhook may subscribe to: every published event, and the expiry of a reservation. */
const webhookEvents = [...(Object.keys(eventTypes) as EventType[]), 'reservation.expired'] as const
export type WebhookEvent = (typeof webhookEvents)[number]

/** A length that proxies and servers can be expected to accept. */
const URL_LENGTH_MAX = 2_048

const Url = z
  .string()
  .max(URL_LENGTH_MAX)
  .refine(isPlainUrl, 'must be an absolute http or https URL in ASCII, without a user name or password')
  .describe('A public address, unless the service is told to allow others.')

const Events = z
  .array(z.enum(webhookEvents))
  .min(1)
  .max(webhookEvents.length)
  .refine((events) => new Set(events).size === events.length, 'must not name an event twice')

export const CreateWebhookRequest = z.strictObject({ url: Url, events: Events })

export const UpdateWebhookRequest = z.strictObject({
  url: Url.optional(),
  events: Events.optional(),
  enabled: z.boolean().optional().describe('True also brings back one whose receiver has answered 410.'),
})

export const Webhook = z
  .object({
    id: z.uuid(),
    url: z.string(),
    events: z.array(z.enum(webhookEvents)),
    enabled: z.boolean().describe('Whether events are sent to it.'),
    disabledReason: z.enum(['gone']).nullable().describe('`gone`: its receiver has answered 410.'),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Webhook' })
export type Webhook = z.infer<typeof Webhook>

function isPlainUrl(text: string): boolean {
  if (!/^https?:\/\/[!-~]+$/i.test(text) || !URL.canParse(text)) return false
  const { username, password } = new URL(text)
  return username === '' && password === ''
}
