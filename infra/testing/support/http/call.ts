import * as z from 'zod'
import type { FunctionDefinition } from '#function'
import { openApiOf } from '#openapi'
import { ADMIN_KEY } from '../engines/database-per-file.ts'
import { traceparentOf } from '../published.ts'
import { type CheckAnswer, contractOf } from './contract.ts'

export interface CallOptions {
  params?: Record<string, string>
  query?: Record<string, string | number>
  /** Sent as JSON; a string or bytes are sent as they are. */
  body?: unknown
  headers?: Record<string, string>
  /** The API key to send; null for none. */
  key?: string | null
}

export interface CallResult {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests read members of answers whose shape `call` has checked
  body: any
}

/**
 * Sends a request to a function's app in process, as its trigger would. Checks that the answer is one that the function declares, as the
 * published document describes it: a declared status and code, and a body of the declared shape without other members.
 */
export async function call(definition: FunctionDefinition, options: CallOptions = {}): Promise<CallResult> {
  const response = await definition.app.fetch(requestOf(definition, options))
  const text = await response.text()
  const body = text === '' ? undefined : JSON.parse(text)
  const { status, headers } = response
  contractWith(definition)({ ...routeOf(definition), status, headers, text })
  checkMembers(definition, status, body)
  return { status, headers, body }
}

function routeOf({ name, trigger }: FunctionDefinition) {
  if (trigger.kind !== 'http') throw new Error(`${name} is not an HTTP function`)
  return trigger
}

function requestOf(definition: FunctionDefinition, options: CallOptions): Request {
  const { method, path: template } = routeOf(definition)
  const path = template.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(options.params?.[name] ?? name),
  )
  const url = new URL(path, 'http://localhost')
  for (const [name, value] of Object.entries(options.query ?? {})) url.searchParams.set(name, String(value))
  const headers = new Headers({ traceparent: traceparentOf(definition) })
  if (options.key !== null) headers.set('authorization', `Bearer ${options.key ?? ADMIN_KEY}`)
  if (options.body !== undefined) headers.set('content-type', 'application/json')
  for (const [name, value] of Object.entries(options.headers ?? {})) headers.set(name, value)
  const isRaw = typeof options.body === 'string' || options.body instanceof Uint8Array
  const body = options.body === undefined ? null : isRaw ? (options.body as string) : JSON.stringify(options.body)
  return new Request(url, { method, headers, body })
}

const contracts = new WeakMap<FunctionDefinition, CheckAnswer>()

/** Returns the check of a function’s answers against the OpenAPI document. */
function contractWith(definition: FunctionDefinition): CheckAnswer {
  const known = contracts.get(definition) ?? contractOf(openApiOf([definition], '0.0.0'))
  contracts.set(definition, known)
  return known
}

/** Checks that no undeclared members are there. The document can't: it allows additional members, so that some can be added later. */
function checkMembers({ name, responses }: FunctionDefinition, status: number, body: unknown): void {
  const declared = responses[status]
  // Every function may answer 500, but does so only if a test makes it.
  if (status === 500 && declared === undefined) throw new Error(`${name} answered 500: ${JSON.stringify(body)}`)
  if (!(declared instanceof z.ZodType)) return
  if (JSON.stringify(sorted(declared.parse(body))) !== JSON.stringify(sorted(body))) {
    throw new Error(`${name} answered with members that it does not declare: ${JSON.stringify(body)}`)
  }
}

function sorted(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(sorted)
  if (typeof json !== 'object' || json === null) return json
  return Object.fromEntries(
    Object.entries(json)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => [name, sorted(value)]),
  )
}
