import * as z from 'zod'
import type { FunctionDefinition } from '#function'

/** The admin key of every test database. */
export const ADMIN_KEY = 'test-admin-key'

export interface CallOptions {
  params?: Record<string, string>
  query?: Record<string, string | number>
  /** Sent as JSON; a string or bytes as they are. */
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

/** Codes that any function may answer with, so none declares them. */
const COMMON_CODES = new Set([
  'malformed_json',
  'unauthenticated',
  'forbidden',
  'method_not_allowed',
  'not_found',
  'too_large',
  'unsupported_media_type',
  'validation_failed',
  'idempotency_key_reused',
  'request_in_progress',
  'rate_limited',
  'overloaded',
  'busy',
  'unavailable',
])

/**
 * Sends a request to a function's app as its trigger would, in process, and checks that the answer is one that the
 * function declares: a declared status, a body of the declared shape with nothing besides, a declared error code.
 */
export async function call(definition: FunctionDefinition, options: CallOptions = {}): Promise<CallResult> {
  const response = await definition.app.fetch(requestOf(definition, options))
  const text = await response.text()
  const body = text === '' ? undefined : JSON.parse(text)
  checkDeclared(definition, response, body)
  return { status: response.status, headers: response.headers, body }
}

function requestOf(definition: FunctionDefinition, options: CallOptions): Request {
  const { trigger } = definition
  if (trigger.kind !== 'http') throw new Error(`${definition.name} is not an HTTP function`)
  const path = trigger.path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(options.params?.[name] ?? name),
  )
  const url = new URL(path, 'http://localhost')
  for (const [name, value] of Object.entries(options.query ?? {})) url.searchParams.set(name, String(value))
  const headers = new Headers()
  if (options.key !== null) headers.set('authorization', `Bearer ${options.key ?? ADMIN_KEY}`)
  if (options.body !== undefined) headers.set('content-type', 'application/json')
  for (const [name, value] of Object.entries(options.headers ?? {})) headers.set(name, value)
  const isRaw = typeof options.body === 'string' || options.body instanceof Uint8Array
  const body = options.body === undefined ? null : isRaw ? (options.body as string) : JSON.stringify(options.body)
  return new Request(url, { method: trigger.method, headers, body })
}

function checkDeclared({ name, responses }: FunctionDefinition, response: Response, body: unknown): void {
  const declared = responses[response.status]
  if (response.status >= 400) {
    const { code } = z
      .object({ code: z.string(), status: z.literal(response.status), requestId: z.string() })
      .parse(body)
    if (COMMON_CODES.has(code) || (Array.isArray(declared) && declared.includes(code))) return
    throw new Error(`${name} answered ${response.status} ${code}, which it does not declare: ${JSON.stringify(body)}`)
  }
  if (declared === undefined) throw new Error(`${name} answered ${response.status}, which it does not declare`)
  if (declared === null) {
    if (body !== undefined) throw new Error(`${name} answered ${response.status} with a body`)
    return
  }
  const parsed = (declared as z.ZodType).parse(body)
  if (JSON.stringify(sorted(parsed)) !== JSON.stringify(sorted(body))) {
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
