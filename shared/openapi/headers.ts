import * as z from 'zod'
import type { ErrorCode } from '#errors'
import type { FunctionDefinition } from '#function'
import { takesKey } from './problems.ts'
import type { Json } from './schemas.ts'

const string = { type: 'string' }
const seconds = { type: 'integer', minimum: 0 }
const etag = { type: 'string', pattern: '^(?:W/)?"[!#-~]*"$' }

/** Every header that an answer may have, in addition to those of HTTP itself. */
export const headerObjects = {
  'Request-Id': {
    description: 'The one of the request, if it was fit to be one; else a new one.',
    required: true,
    schema: { type: 'string', pattern: '^[!-~]{1,128}$' },
  },
  'RateLimit-Policy': {
    description: 'How much the API key may ask: `q` requests in `w` seconds (draft-ietf-httpapi-ratelimit-headers).',
    schema: string,
    example: '"default";q=2000;w=2',
  },
  RateLimit: {
    description: 'What is left of it: `r` requests, and in `t` seconds all of them again.',
    schema: string,
    example: '"default";r=1999;t=1',
  },
  'Consistency-Token': { description: 'A read that sends it sees what this request did.', schema: string },
  'Idempotent-Replayed': {
    description: 'There where this is the answer of an earlier request with the same Idempotency-Key.',
    schema: { type: 'string', enum: ['true'] },
  },
  Location: {
    description: 'Where to read what was made.',
    required: true,
    schema: { type: 'string', format: 'uri-reference' },
  },
  ETag: { description: 'Its version, for If-Match and If-None-Match.', required: true, schema: etag },
  'Content-Disposition': { description: 'A name for the file, where it is one.', schema: string },
  Vary: { description: 'The headers of the request that this answer depends on.', schema: string },
  'Content-Security-Policy': { description: 'What a browser may do with it.', schema: string },
  'X-Content-Type-Options': {
    description: 'That it is what its type says.',
    schema: { type: 'string', enum: ['nosniff'] },
  },
  'Cache-Control': { description: 'Whether it may be kept.', schema: string },
  'Retry-After': { description: 'Seconds after which a retry makes sense.', required: true, schema: seconds },
  'WWW-Authenticate': { description: 'How to authenticate.', required: true, schema: string, example: 'Bearer' },
} as const
type Header = keyof typeof headerObjects

/** Statuses of answers that are sent before the request is counted, or by the router instead of the function. */
const UNCOUNTED = new Set([401, 421, 431, 502, 504])

export function headersOf(names: readonly Header[]): Json {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
}

/** The headers that every answer of a function with this status may have. */
function commonHeaders(definition: FunctionDefinition, status: number): Header[] {
  const isFinal = status < 400 || [404, 409, 412].includes(status)
  return [
    'Request-Id',
    ...(UNCOUNTED.has(status) ? [] : (['RateLimit-Policy', 'RateLimit'] as const)),
    ...(takesKey(definition) && isFinal ? (['Idempotent-Replayed'] as const) : []),
  ]
}

export function successHeaders(definition: FunctionDefinition, status: number): Json {
  return headersOf([
    ...commonHeaders(definition, status),
    'Consistency-Token',
    ...((status === 201 && !makesMany(definition)) || status === 202 ? (['Location'] as const) : []),
    ...(definition.sends ?? []),
  ])
}

/** A function that creates many things at once has no single place to read them. */
function makesMany({ responses }: FunctionDefinition): boolean {
  const made = responses[201]
  return made instanceof z.ZodObject && 'items' in made.shape
}

export function problemHeaders(definition: FunctionDefinition, status: number, codes: readonly ErrorCode[]): Json {
  const headers = headersOf([
    ...commonHeaders(definition, status),
    'Cache-Control',
    ...(status === 401 ? (['WWW-Authenticate'] as const) : []),
    ...(status === 429 || status === 503 ? (['Retry-After'] as const) : []),
  ])
  if (!codes.includes('request_in_progress')) return headers
  return { ...headers, 'Retry-After': { description: 'There with `request_in_progress`.', schema: seconds } }
}
