import type { HttpBindings } from '@hono/node-server'
import { Hono } from 'hono'
import * as z from 'zod'
import { type RequestContext, systemContext, toPublicError } from '#database'
import type { EventType } from '#events'
import { validate } from '#input'
import { childTrace, logger, traceIdOf } from '#telemetry'
import { declare } from '../declared.ts'
import { defaultLimits, type FunctionDefinition, type Limits, type Trigger } from '../definition.ts'
import { type Admission, createAdmission } from '../http/admission.ts'
import { readJson } from '../http/body.ts'
import { problemDocument, problemHeaders, toServiceError } from '../problem.ts'
import { requestIdOf } from '../request-id.ts'
import { attributesOf, CloudEventAttributes } from './cloud-event.ts'

export interface ReceivedEvent<Data> {
  attributes: CloudEventAttributes
  data: Data
  context: RequestContext
}

interface EventOptions<Data extends z.ZodType> {
  name: string
  summary: string
  /** The shape of the event's data. */
  data: Data
  /** The types of the events that it publishes. */
  emits?: readonly EventType[]
  limits?: Partial<Limits>
  /** Returns once the effect is committed. An error of 4xx dead-letters the event; any other has it tried again. */
  handler: (event: ReceivedEvent<z.infer<Data>>) => Promise<unknown>
}

/**
 * Declares a function that works a queue's messages: one effect a message, tried again with backoff, then dead-lettered.
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
): FunctionDefinition {
  return eventFunction(options, { kind: 'queue', queue: options.queue })
}

/**
 * Declares a function that follows the events of some topics as the consumer group `name`: events of all types, or of `types`, or of
 * those for which `wants` gives true at the moment. Within a topic, one product's events come in order.
 *
 * @example
 * export default streamFunction({
 *   name: 'detect-low-stock',
 *   topics: ['stock-events'],
 *   summary: 'Publish low-stock, out-of-stock and back-in-stock alerts.',
 *   data: ProductChange,
 *   handler: ({ attributes, data, context }) => detectAlert(data, attributes.id, 'detect-low-stock', context),
 * })
 */
export function streamFunction<Data extends z.ZodType>(
  options: EventOptions<Data> & Pick<StreamTrigger, 'topics' | 'types' | 'wants'>,
): FunctionDefinition {
  const { topics, types, wants, name } = options
  return eventFunction(options, { kind: 'stream', topics, group: name, types, wants })
}

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

type StreamTrigger = Extract<Trigger, { kind: 'stream' }>

const Tick = z.strictObject({})

function eventFunction<Data extends z.ZodType>(options: EventOptions<Data>, trigger: Trigger): FunctionDefinition {
  const { name, summary, data } = options
  const limits: Limits = { ...defaultLimits, timeoutMs: 30_000, ...options.limits }
  const admission = createAdmission(name, limits)
  const app = new Hono()
  app.post('/', async (c) => {
    const startedAt = performance.now()
    const response = await receive(options, limits, admission, c.req.raw, c.env as Partial<HttpBindings> | undefined)
    admission.observe(response.status, startedAt)
    return response
  })
  return declare({
    name,
    summary,
    trigger,
    limits,
    scope: undefined,
    params: {},
    request: { body: data, contentTypes: ['application/json'] },
    responses: {},
    produces: [],
    emits: options.emits ?? [],
    app,
    inFlight: admission.current,
    recent: admission.recent,
  })
}

/** Takes a CloudEvent in HTTP binary mode; 204 acknowledges it. */
async function receive<Data extends z.ZodType>(
  { name, data, handler }: EventOptions<Data>,
  limits: Limits,
  admission: Admission,
  request: Request,
  http: Partial<HttpBindings> | undefined,
): Promise<Response> {
  const { headers } = request
  const trace = childTrace(headers.get('traceparent'), headers.get('tracestate'))
  try {
    const attributes = validate(CloudEventAttributes, attributesOf(headers))
    const source = { request, http, apiKeyId: undefined, bytesMax: limits.maxBodyBytes }
    const { content, release } = await readJson(source, headers, ['application/json'])
    const context = systemContext(`function:${name}`, trace)
    const work = () => handler({ attributes, data: validate(data, content), context })
    const result = await admission.run(undefined, work, release)
    return result === undefined ? new Response(null, { status: 204 }) : Response.json(result)
  } catch (thrown) {
    const error = toServiceError(toPublicError(thrown))
    logger().error({ function: name, code: error.code, trace_id: traceIdOf(trace), err: thrown }, error.detail)
    const requestId = requestIdOf(request.headers.get('ce-id'))
    return new Response(JSON.stringify(problemDocument(error, { instance: '/', requestId })), {
      status: error.status,
      headers: problemHeaders(error),
    })
  }
}
