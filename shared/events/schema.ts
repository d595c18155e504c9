import * as z from 'zod'
import { anyJson } from '#input'

const NO_EVENT = 'null where the message was no event.'

export const DeadEvent = z
  .object({
    id: z.uuid().describe('Of this record: an event that dies in two groups, or again, has another.'),
    eventId: z.string().describe('Of the event; of a message that was no event, where in Kafka it was.'),
    group: z.string().nullable().describe('The consumer group that gave the event up; null where the log refused it.'),
    topic: z.string(),
    type: z.string().nullable().describe(NO_EVENT),
    productId: z.string().nullable().describe(NO_EVENT),
    version: z.number().int().nonnegative().nullable().describe(NO_EVENT),
    data: anyJson.describe('The data of the event; of a message that was no event, its text.'),
    error: z.string().describe('Of the last attempt.'),
    attempts: z.number().int().nonnegative(),
    diedAt: z.iso.datetime(),
  })
  .meta({ id: 'DeadEvent' })
export type DeadEvent = z.infer<typeof DeadEvent>

export const DeadEventFilter = z.strictObject({
  group: z.string().max(200).optional().describe('A consumer group; empty for what the log refused.'),
  topic: z.string().max(200).optional(),
})

export const RedriveEvents = z.strictObject({
  ids: z
    .array(z.guid().toLowerCase())
    .min(1)
    .max(1_000)
    .optional()
    .describe('Dead events, by the ids of their records; without it all of them, the oldest 10,000 at most.'),
})
