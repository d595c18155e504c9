import { STATUS_CODES } from 'node:http'
import * as z from 'zod'
import { type ErrorCode, statusOf } from '#errors'
import { problemMembers } from '#errors/members'
import type { FunctionDefinition } from '#function'
import { type Json, reference, type SchemaOf } from './schemas.ts'

/** Errors that every function has in addition to its own, and errors of the router when it can't reach the function. */
const COMMON: readonly ErrorCode[] = [
  'malformed_json',
  'malformed_request',
  'unauthenticated',
  'forbidden',
  'misdirected_request',
  'validation_failed',
  'rate_limited',
  'headers_too_large',
  'internal',
  'bad_gateway',
  'overloaded',
  'busy',
  'unavailable',
  'gateway_timeout',
]

/** Further errors of functions that take a body. */
const COMMON_TO_BODIES: readonly ErrorCode[] = ['request_timeout', 'too_large', 'unsupported_media_type']

/** Further errors of functions that take an Idempotency-Key. */
const COMMON_TO_KEYS: readonly ErrorCode[] = ['request_in_progress', 'idempotency_key_reused']

/** Every error code of a function, by status, with the function's own codes first. */
export function codesOf(definition: FunctionDefinition): Map<number, ErrorCode[]> {
  const { responses, trigger } = definition
  const own = Object.values(responses).filter((codes): codes is ErrorCode[] => Array.isArray(codes))
  const method = trigger.kind === 'http' ? trigger.method : undefined
  const codes = new Set([
    ...own.flat(),
    ...(method === 'GET' ? [] : COMMON_TO_BODIES),
    ...(takesKey(definition) ? COMMON_TO_KEYS : []),
    ...COMMON,
  ])
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of codes) byStatus.set(statusOf[code], [...(byStatus.get(statusOf[code]) ?? []), code])
  return byStatus
}

export function takesKey({ trigger, isRead }: FunctionDefinition): boolean {
  return trigger.kind === 'http' && !isRead && (trigger.method === 'POST' || trigger.method === 'PATCH')
}

/** A response with a problem of one of `codes`, which share a status. */
export function problemResponse(codes: readonly ErrorCode[]): Json {
  return {
    description: `\`${codes.join('`, `')}\``,
    content: { 'application/problem+json': { schema: oneOf(codes) } },
  }
}

/**
 * The alternatives share no code. There is no `discriminator`, since openapi-typescript would take it for a schema's only code, and PlainProblem
 * has many codes.
 */
function oneOf(codes: readonly ErrorCode[]): Json {
  const [first = '', ...others] = new Set(codes.map(schemaNameOf))
  return others.length === 0 ? reference(first) : { oneOf: [first, ...others].map(reference) }
}

function schemaNameOf(code: ErrorCode): string {
  if (!Object.hasOwn(problemMembers, code)) return 'PlainProblem'
  return code.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

/** The members of every problem document. A code may have more (RFC 9457, 3.2). */
const Problem = z.object({
  type: z.string().describe('`about:blank`: it is `code` that tells what the problem is.'),
  title: z.string().describe('What the status says.'),
  status: z.number().int().min(400).max(599).describe('The status of the answer.'),
  detail: z.string().describe('What went wrong and, where something can be done, what: for people.'),
  instance: z.string().describe('The path that was asked for.'),
  code: z.string().describe('What went wrong, for programs: it never changes.'),
  requestId: z.string().describe('The `Request-Id` of the request; of a replayed answer, that of the first one.'),
})

/** The schemas of problem documents: `Problem`, one for each code that has its own members, and one for all other codes. */
export function problemSchemas(schemaOf: SchemaOf): Json {
  const plain = Object.keys(statusOf).filter((code) => !Object.hasOwn(problemMembers, code))
  const entries = Object.entries(problemMembers).map(([code, members]) => {
    const status = statusOf[code as ErrorCode]
    const description = `\`${code}\` (${status} ${STATUS_CODES[status]}).`
    const { properties, required } = schemaOf(members, 'output') as { properties: Json; required: string[] }
    return [schemaNameOf(code as ErrorCode), derived(description, { code: codeOf([code]), ...properties }, required)]
  })
  return {
    Problem: { description: 'A problem document of RFC 9457.', ...schemaOf(Problem, 'output') },
    PlainProblem: derived('A problem whose code has no members of its own.', { code: codeOf(plain) }, []),
    ...Object.fromEntries(entries),
  }
}

const codeOf = (codes: string[]): Json => ({
  type: 'string',
  enum: codes,
  description: 'What went wrong, for programs.',
})

function derived(description: string, properties: Json, required: readonly string[]): Json {
  return {
    description,
    allOf: [reference('Problem'), { type: 'object', properties, required: ['code', ...required] }],
  }
}
