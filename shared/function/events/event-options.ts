import type * as z from 'zod'
import type { RequestContext } from '#database'
import type { EventType } from '#events'
import type { Batch, Limits } from '../definition.ts'
import type { CloudEventAttributes } from './cloud-event.ts'

export interface ReceivedEvent<Data> {
  attributes: CloudEventAttributes
  data: Data
  context: RequestContext
}

interface CommonOptions<Data extends z.ZodType> {
  name: string
  summary: string
  /** The shape of the event's data. */
  data: Data
  /** The types of the events that it publishes. */
  emits?: readonly EventType[]
  limits?: Partial<Limits>
}

export interface EventOptions<Data extends z.ZodType> extends CommonOptions<Data> {
  batch?: never
  /** Returns once the effect is committed. An error with a 4xx status dead-letters the event; after any other error the event is tried again. */
  handler: (event: ReceivedEvent<z.infer<Data>>) => Promise<unknown>
}

export interface BatchOptions<Data extends z.ZodType> extends CommonOptions<Data> {
  batch: Batch
  /**
   * Returns the result of each event, in their order, once the effects of those that succeeded are committed. A rejection stands for an error that
   * a handler of one event would throw. Once an event of a subject is to be tried again, the handler skips the later events of that subject: they
   * come again, whatever their result. If it throws, all events are tried again, one by one.
   */
  handler: (events: Array<ReceivedEvent<z.infer<Data>>>) => Promise<Array<PromiseSettledResult<unknown>>>
}
