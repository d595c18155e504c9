import * as z from 'zod'
import { statusOf } from '#errors'
import type { FunctionDefinition } from './definition.ts'

type Json = Record<string, unknown>

/** What every function may answer besides its own errors, or the router for it when it can't be reached or breaks off. */
const COMMON: Record<number, string[]> = {
  400: ['malformed_json'],
  401: ['unauthenticated'],
  403: ['forbidden'],
  422: ['validation_failed'],
  429: ['rate_limited'],
  502: ['bad_gateway'],
  503: ['overloaded', 'busy', 'unavailable'],
  504: ['gateway_timeout'],
}

/** What a POST or a PATCH may besides: it has a body, and may have an Idempotency-Key. */
const COMMON_TO_WRITES: Record<number, string[]> = {
  409: ['request_in_progress'],
  413: ['too_large'],
  415: ['unsupported_media_type'],
  422: ['idempotency_key_reused'],
}

const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    instance: z.string(),
    code: z.enum(Object.keys(statusOf) as [string, ...string[]]),
    requestId: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem' })

/** The OpenAPI 3.1 document of the HTTP functions among `definitions`, made from the schemas that they validate with. */
export function openApiOf(definitions: readonly FunctionDefinition[], version: string): Json {
  const components: Json = {}
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output') => toSchema(schema, io, components)
  const paths: Record<string, Json> = {}
  for (const definition of definitions) {
    if (definition.trigger.kind !== 'http') continue
    const { method, path } = definition.trigger
    paths[path] = { ...paths[path], [method.toLowerCase()]: operationOf(definition, schemaOf) }
  }
  const description = 'Products, stock and reservations that never oversell.'
  return {
    openapi: '3.1.0',
    info: { title: 'stock-management-service', version, description, license: { name: 'MIT', identifier: 'MIT' } },
    security: [{ apiKey: [] }],
    tags: [...new Set(Object.values(paths).flatMap(tagsOf))].map((name) => ({ name })),
    paths,
    components: { securitySchemes: { apiKey: { type: 'http', scheme: 'bearer' } }, schemas: components },
  }
}

function tagsOf(operations: Json): string[] {
  return Object.values(operations).flatMap((operation) => (operation as { tags: string[] }).tags)
}

type SchemaOf = (schema: z.ZodType, io: 'input' | 'output') => Json

function operationOf(definition: FunctionDefinition, schemaOf: SchemaOf): Json {
  const { name, summary, scope, trigger, request, responses, produces } = definition
  if (trigger.kind !== 'http') throw new Error(`${name} has no route`)
  const { body, contentTypes } = request
  const content = body && Object.fromEntries(contentTypes.map((type) => [type, { schema: schemaOf(body, 'input') }]))
  return {
    operationId: name,
    summary,
    description: `Needs the scope \`${scope}\`.`,
    tags: [trigger.path.includes('/stock') ? 'stock' : (trigger.path.split('/')[2] ?? 'other')],
    parameters: parametersOf(definition, schemaOf),
    ...(content && { requestBody: { required: !body.safeParse({}).success, content } }),
    responses: { ...problemsOf(definition, schemaOf), ...successesOf(responses, produces, schemaOf) },
  }
}

function parametersOf({ trigger, request }: FunctionDefinition, schemaOf: SchemaOf): Json[] {
  if (trigger.kind !== 'http') return []
  const { method, path } = trigger
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string', format: 'uuid' },
  }))
  const query = (request.query ? schemaOf(request.query, 'input') : {}) as {
    properties?: Record<string, Json>
    required?: string[]
  }
  const inQuery = Object.entries(query.properties ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    required: query.required?.includes(name) ?? false,
    schema,
  }))
  const header = (name: string, description: string) => ({
    name,
    in: 'header',
    description,
    schema: { type: 'string' },
  })
  return [
    ...inPath,
    ...inQuery,
    ...(method === 'GET'
      ? [header('Consistency-Token', 'Of an earlier write’s answer: the read then sees that write.')]
      : []),
    ...(takesKey(trigger)
      ? [header('Idempotency-Key', 'Makes a repeat of this request safe for 24 h: it gets the first answer again.')]
      : []),
    ...(method === 'PATCH' ? [header('If-Match', 'The entity tag of the version to be changed.')] : []),
  ]
}

function successesOf(
  responses: FunctionDefinition['responses'],
  produces: readonly string[],
  schemaOf: SchemaOf,
): Json {
  const successes = Object.entries(responses).filter(([status]) => Number(status) < 400)
  return Object.fromEntries(
    successes.map(([status, schema]) => {
      const content = schema instanceof z.ZodType && {
        content: Object.fromEntries(produces.map((type) => [type, { schema: schemaOf(schema, 'output') }])),
      }
      return [status, { description: describe(Number(status)), ...content }]
    }),
  )
}

function problemsOf({ responses, trigger }: FunctionDefinition, schemaOf: SchemaOf): Json {
  const own = Object.entries(responses).filter(([, codes]) => Array.isArray(codes)) as Array<[string, string[]]>
  const writes = takesKey(trigger) ? Object.entries(COMMON_TO_WRITES) : []
  const byStatus: Record<string, Set<string>> = {}
  for (const [status, codes] of [...own, ...writes, ...Object.entries(COMMON)]) {
    byStatus[status] = new Set([...(byStatus[status] ?? []), ...codes])
  }
  const content = { 'application/problem+json': { schema: schemaOf(Problem, 'output') } }
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, codes]) => [
      status,
      { description: `\`${[...codes].join('`, `')}\``, content },
    ]),
  )
}

function takesKey(trigger: FunctionDefinition['trigger']): boolean {
  return trigger.kind === 'http' && (trigger.method === 'POST' || trigger.method === 'PATCH')
}

function describe(status: number): string {
  return { 200: 'OK', 201: 'Created', 202: 'Accepted', 204: 'Done', 304: 'Not modified' }[status] ?? 'Success'
}

/** A schema as JSON Schema, with those that have an id hoisted into `components`. */
export function toSchema(schema: z.ZodType, io: 'input' | 'output', components: Json): Json {
  // Wrapped, so that a root that has an id becomes a reference as well.
  const { $defs = {}, properties } = z.toJSONSchema(z.object({ root: schema }), { io, unrepresentable: 'any' })
  const relocate = (json: unknown) => JSON.parse(JSON.stringify(json).replaceAll('"#/$defs/', '"#/components/schemas/'))
  for (const [id, definition] of Object.entries($defs)) {
    const { id: _, ...rest } = definition
    components[id] ??= relocate(rest)
  }
  return relocate(properties?.root ?? {})
}
