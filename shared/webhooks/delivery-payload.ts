import * as z from 'zod'

/** No event is nearly as large: the largest is that of a product with the longest texts and attributes, 60 kB. */
const EVENT_DATA_BYTES_MAX = 128 * 1024

/** A CloudEvent as a webhook gets it. */
const SentEvent = z.strictObject({
  id: z.string(),
  source: z.string(),
  type: z.string(),
  subject: z.string().optional(),
  time: z.iso.datetime({ offset: true }).optional(),
  data: z
    .looseObject({})
    .refine((data) => Buffer.byteLength(JSON.stringify(data)) <= EVENT_DATA_BYTES_MAX, 'must not be larger'),
})
export type SentEvent = z.infer<typeof SentEvent>

/** The payload of `deliver-webhook`. */
export const DeliveryPayload = z.strictObject({ webhookId: z.guid(), event: SentEvent })
export type DeliveryPayload = z.infer<typeof DeliveryPayload>
