import type { HttpBindings } from '@hono/node-server'
import { Hono } from 'hono'
import * as z from 'zod'
import { systemContext, toPublicError } from '#database'
import { validate } from '#input'
import { receivedTrace, type TraceContext, traceIdOf } from '#telemetry'
import { declare } from '../declared.ts'
import { defaultLimits, type FunctionDefinition, type Limits, type Trigger } from '../definition.ts'
import { type Admission, createAdmission } from '../http/admission.ts'
import { readJson } from '../http/body.ts'
import { noteEventFailure, problemDocument, problemHeaders, toServiceError } from '../problem.ts'
import { requestIdOf } from '../request-id.ts'
import { BATCH_TYPE } from './batch-answer.ts'
import { attributesOf, CloudEventAttributes } from './cloud-event.ts'
import type { BatchOptions, EventOptions, ReceivedEvent } from './event-options.ts'
import { handleBatch } from './handle-batch.ts'

/**
 * Declares a function that works on a queue's messages. Each message has one effect, is tried again with backoff, and is then dead-lettered.
 *
 * @example
 * export default queueFunction({
 *   name: 'process-job',
 *   queue: 'jobs',
 *   summary: 'Run a job by its type.',
 *   data: z.strictObject({ jobId: z.guid() }),
 *   handler: ({ attributes, data, context }) => runJob(data.jobId, attributes.id, context, runners),
 * })
 */
export function queueFunction<Data extends z.ZodType>(
  options: EventOptions<Data> & { queue: string },
): FunctionDefinition
export function queueFunction<Data extends z.ZodType>(
  options: BatchOptions<Data> & { queue: string },
): FunctionDefinition
export function queueFunction<Data extends z.ZodType>(
  options: (EventOptions<Data> | BatchOptions<Data>) & { queue: string },
): FunctionDefinition {
  return eventFunction(options, { kind: 'queue', queue: options.queue, batch: options.batch })
}

/**
 * Declares a function that follows the events of some topics as the consumer group `name`: events of all types, or of `types`, or of those for
 * which `wants` returns true at the moment. Within a topic, one product's events come in order. With `batch`, its handler gets several events at
 * once (docs/decisions/0022-batches-of-events.md).
 *
 * @example
 * export default streamFunction({
 *   name: 'send-receipts',
 *   topics: ['stock-events'],
 *   summary: 'Send a receipt for each sale.',
 *   data: StockEvent,
 *   batch: { max: 100, waitMs: 20 },
 *   handler: (events) => Promise.allSettled(events.map(({ data, attributes }) => sendReceipt(data, attributes.id))),
 * })
 */
export function streamFunction<Data extends z.ZodType>(options: EventOptions<Data> & StreamOptions): FunctionDefinition
export function streamFunction<Data extends z.ZodType>(options: BatchOptions<Data> & StreamOptions): FunctionDefinition
export function streamFunction<Data extends z.ZodType>(
  options: (EventOptions<Data> | BatchOptions<Data>) & StreamOptions,
): FunctionDefinition {
  const { topics, types, wants, name, batch } = options
  return eventFunction(options, { kind: 'stream', topics, group: name, types, wants, batch })
}

type StreamOptions = Pick<Extract<Trigger, { kind: 'stream' }>, 'topics' | 'types' | 'wants'>

/**
 * Declares a function that runs every `everyMs`, one run at a time in a process.
 *
 * @example
 * export default scheduleFunction({
 *   name: 'expire-reservations',
 *   everyMs: 1_000,
 *   summary: 'End the holds that are past their deadline.',
 *   handler: async ({ context }) => ({ expired: await sweepReservations(context) }),
 * })
 */
export function scheduleFunction(
  options: Omit<EventOptions<typeof Tick>, 'data'> & { everyMs: number },
): FunctionDefinition {
  return eventFunction({ ...options, data: Tick }, { kind: 'schedule', everyMs: options.everyMs })
}

/**
 * Declares a function that publishes an outbox. It runs every `everyMs`, and at once if a run takes longer than that. It does not run
 * if the deployment writes nothing into the outbox.
 */
export function outboxFunction(
  options: Omit<EventOptions<typeof Tick>, 'data'> & { outbox: 'events' | 'jobs'; everyMs: number },
): FunctionDefinition {
  const { outbox, everyMs } = options
  return eventFunction({ ...options, data: Tick }, { kind: 'outbox', outbox, everyMs })
}

const Tick = z.strictObject({})

const BATCH_MAX = 1_000

/** A batch with more bytes is split. Nearly all events have less than 1 kB. */
const BATCH_BYTES_MAX = 4 * 1024 * 1024
/** The most elements and members of a batch. Nearly all events have less than 30. */
const BATCH_VALUES_MAX = 100_000

type Options<Data extends z.ZodType> = EventOptions<Data> | BatchOptions<Data>

function eventFunction<Data extends z.ZodType>(options: Options<Data>, trigger: Trigger): FunctionDefinition {
  const { name, summary, data, batch } = options
  if (batch && !(batch.max >= 1 && batch.max <= BATCH_MAX))
    throw new Error(`${name}: a batch has 1 to ${BATCH_MAX} events`)
  const own = { timeoutMs: 30_000, ...(batch && { maxBodyBytes: BATCH_BYTES_MAX }) }
  const limits: Limits = { ...defaultLimits, ...own, ...options.limits }
  const admission = createAdmission(name, limits)
  const app = new Hono()
  app.post('/', async (c) => {
    const startedAt = performance.now()
    const { headers } = c.req.raw
    const trace = receivedTrace(headers)
    const http = c.env as Partial<HttpBindings> | undefined
    const response = await receive(options, limits, admission, c.req.raw, trace, http)
    admission.observe(response.status, startedAt, trace)
    return response
  })
  return declare({
    name,
    summary,
    trigger,
    limits,
    scope: undefined,
    params: {},
    request: { body: data, contentTypes: batch ? [JSON_TYPE, BATCH_TYPE] : [JSON_TYPE] },
    responses: {},
    produces: [],
    emits: options.emits ?? [],
    app,
    inFlight: admission.current,
    recent: admission.recent,
  })
}

const JSON_TYPE = 'application/json'

/**
 * Takes a CloudEvent in HTTP binary mode, or a batch of CloudEvents if the function declares batches. 204 or 200 acknowledges it:
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 */
async function receive<Data extends z.ZodType>(
  options: Options<Data>,
  limits: Limits,
  admission: Admission,
  request: Request,
  trace: TraceContext,
  http: Partial<HttpBindings> | undefined,
): Promise<Response> {
  const { headers } = request
  const { name } = options
  const source = { request, http, apiKeyId: undefined, bytesMax: limits.maxBodyBytes }
  const isBatch = options.batch !== undefined && isBatchType(headers.get('content-type'))
  try {
    const attributes = isBatch ? undefined : validate(CloudEventAttributes, attributesOf(headers))
    const { content, release } = await readJson(
      source,
      headers,
      [isBatch ? BATCH_TYPE : JSON_TYPE],
      isBatch ? BATCH_VALUES_MAX : undefined,
    )
    const work = attributes
      ? () => handleOne(options, { attributes, data: content, context: systemContext(`function:${name}`, trace) })
      : () => handleBatch(options as BatchOptions<Data>, content)
    const result = await admission.run(undefined, work, release)
    return result === undefined ? new Response(null, { status: 204 }) : Response.json(result)
  } catch (thrown) {
    const error = toServiceError(toPublicError(thrown))
    noteEventFailure(name, error, thrown, { trace_id: traceIdOf(trace) })
    const requestId = requestIdOf(request.headers.get('ce-id'))
    return new Response(JSON.stringify(problemDocument(error, { instance: '/', requestId })), {
      status: error.status,
      headers: problemHeaders(error),
    })
  }
}

function isBatchType(contentType: string | null): boolean {
  return contentType?.split(';')[0]?.trim().toLowerCase() === BATCH_TYPE
}

/** The result of an event that came alone. Throws the error of its handler. */
async function handleOne<Data extends z.ZodType>(
  options: Options<Data>,
  event: ReceivedEvent<unknown>,
): Promise<unknown> {
  const received = { ...event, data: validate(options.data, event.data) }
  if (!options.batch) return options.handler(received)
  const [result] = await options.handler([received])
  if (result?.status === 'fulfilled') return result.value
  throw result?.reason
}
