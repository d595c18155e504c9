import type * as z from 'zod'
import type { RequestContext, Scope } from '#database'
import type { Resource } from '#errors'
import type { EventType } from '#events'
import type { RequestHeaders } from './http/request-headers.ts'
import type { RecentTraffic } from './status/recent-traffic.ts'

/** The groups of the API reference. */
export type Tag =
  | 'products'
  | 'stock'
  | 'reservations'
  | 'locations'
  | 'jobs'
  | 'webhooks'
  | 'events'
  | 'api-keys'
  | 'operations'

/** Headers that only some functions send. All other headers depend on the status, or come with every answer. */
export type AnswerHeader = 'ETag' | 'Content-Disposition' | 'Vary'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
export type Route = `${Method} /${string}`

/** `'GET /v1/products/{productId}'` has the parameters `{ productId: string }`. */
export type ParamsOf<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? { [Key in Name]: string } & ParamsOf<Rest>
  : unknown

/** For each parameter of a path, the resource whose id it is. */
export type ParamsOption<Path extends string> =
  unknown extends ParamsOf<Path>
    ? { params?: never }
    : { params: Readonly<Record<keyof ParamsOf<Path> & string, Resource>> }

export interface Limits {
  /** Requests served at once; the next one is answered 503 `overloaded`. */
  inFlight: number
  /** How long a request may take before it is answered 503. */
  timeoutMs: number
  maxBodyBytes: number
}

export const defaultLimits: Limits = { inFlight: 512, timeoutMs: 5_000, maxBodyBytes: 1024 * 1024 }

/** A handler's answer. `body` is sent as JSON; a string or a stream is sent as it is. */
export interface HandlerResult {
  status: number
  body?: unknown
  headers?: Record<string, string>
}

export interface HttpRequest<Path extends string, Query, Body> {
  params: ParamsOf<Path>
  query: Query
  body: Body
  headers: RequestHeaders
  context: RequestContext
}

export interface HttpOptions<
  Path extends Route = Route,
  Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType,
> {
  name: string
  route: Path
  tag: Tag
  /** One sentence for the API reference. */
  summary: string
  scope: Scope
  /** For a POST that only reads: like a GET, it takes a Consistency-Token and ignores an Idempotency-Key. */
  isRead?: boolean
  /** `description`: what the schema of the body can't express, in Markdown. */
  request?: { query?: Query; body?: Body; contentTypes?: readonly string[]; description?: string }
  /** For each status, the schema of the answer, or the codes of the errors. */
  responses: Record<number, z.ZodType | readonly string[] | null>
  /** The media types of its answers, if not `application/json` alone. */
  produces?: readonly string[]
  /** Headers that its answers have in addition to the common ones. */
  sends?: readonly AnswerHeader[]
  /** The types of the events that it publishes. */
  emits?: readonly EventType[]
  limits?: Partial<Limits>
  /** Reads the function's own settings at the start, so that a bad one fails the start and not the first request. */
  settings?: () => unknown
  handler: (request: HttpRequest<Path, z.infer<Query>, z.infer<Body>>) => Promise<HandlerResult>
}

/** How a function takes several events at once. */
export interface Batch {
  /** The most events in a batch; at most 1,000. */
  max: number
  /** How long the trigger waits after a batch that was not full, so that the next batch has more events. Delays an event by as much. */
  waitMs: number
}

/** The cause of a function's calls. All kinds but `http` send a CloudEvent, `POST /`. */
export type Trigger =
  | { kind: 'http'; method: Method; path: string }
  | { kind: 'queue'; queue: string; batch?: Batch | undefined }
  | {
      kind: 'stream'
      topics: readonly string[]
      group: string
      types?: readonly string[] | undefined
      /** Called before an event is delivered. If it returns false, the event is skipped, at the cost of the call. */
      wants?: ((type: string) => Promise<boolean>) | undefined
      batch?: Batch | undefined
    }
  | { kind: 'schedule'; everyMs: number }
  | { kind: 'outbox'; outbox: 'events' | 'jobs'; everyMs: number }

/** A function: plain data, and a Hono app. Importing a function only declares it. */
export interface FunctionDefinition {
  name: string
  summary: string
  trigger: Trigger
  limits: Limits
  scope: Scope | undefined
  /** Whether it answers GET, or a POST that only reads. */
  isRead?: boolean
  /** The resources whose ids are the parameters of its path. */
  params: Readonly<Record<string, Resource>>
  request: { query?: z.ZodType; body?: z.ZodType; contentTypes: readonly string[]; description?: string }
  responses: Record<number, z.ZodType | readonly string[] | null>
  produces: readonly string[]
  settings?: (() => unknown) | undefined
  tag?: Tag
  sends?: readonly AnswerHeader[]
  emits: readonly EventType[]
  app: { fetch: (request: Request, env?: unknown) => Response | Promise<Response> }
  /** Requests that are being worked on at the moment, including those past their time-out. */
  inFlight: () => number
  /** What this process has answered lately. */
  recent: () => RecentTraffic
}

export function ok(body: unknown, headers: Record<string, string> = {}): HandlerResult {
  return { status: 200, body, headers }
}

export function created(location: string, body: unknown, headers: Record<string, string> = {}): HandlerResult {
  return { status: 201, body, headers: { location, ...headers } }
}

export function accepted(location: string, body: unknown): HandlerResult {
  return { status: 202, body, headers: { location } }
}

export function noContent(): HandlerResult {
  return { status: 204 }
}
