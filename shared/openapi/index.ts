import * as z from 'zod'
import type { FunctionDefinition } from '#function'
import { codesOf, problemResponse, problemSchemas, takesKey } from './problems.ts'
import { type Json, type SchemaOf, toSchema } from './schemas.ts'

export { codesOf } from './problems.ts'
export { toSchema } from './schemas.ts'

/** The OpenAPI 3.1 document of the HTTP functions among `definitions`, made from the schemas that they validate with. */
export function openApiOf(definitions: readonly FunctionDefinition[], version: string): Json {
  const components: Json = {}
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output') => toSchema(schema, io, components)
  Object.assign(components, problemSchemas(schemaOf))
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

function operationOf(definition: FunctionDefinition, schemaOf: SchemaOf): Json {
  const { name, summary, scope, trigger, request, responses, produces } = definition
  if (trigger.kind !== 'http') throw new Error(`${name} has no route`)
  const { body, contentTypes, description } = request
  const content = body && Object.fromEntries(contentTypes.map((type) => [type, { schema: schemaOf(body, 'input') }]))
  return {
    operationId: name,
    summary,
    description: `Needs the scope \`${scope}\`.`,
    tags: [trigger.path.includes('/stock') ? 'stock' : (trigger.path.split('/')[2] ?? 'other')],
    parameters: parametersOf(definition, schemaOf),
    ...(content && {
      requestBody: { ...(description && { description }), required: !body.safeParse({}).success, content },
    }),
    responses: { ...problemsOf(definition), ...successesOf(responses, produces, schemaOf) },
  }
}

function parametersOf({ trigger, request, responses }: FunctionDefinition, schemaOf: SchemaOf): Json[] {
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
    ...(responses[412]
      ? [
          header('If-Match', 'Entity tags of the versions that the request is meant for, or `*`: 412 at any other.'),
          header('If-None-Match', 'Entity tags of the versions that it is not meant for, or `*`.'),
        ]
      : []),
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

function problemsOf(definition: FunctionDefinition): Json {
  return Object.fromEntries([...codesOf(definition)].map(([status, codes]) => [status, problemResponse(codes)]))
}

function describe(status: number): string {
  return { 200: 'OK', 201: 'Created', 202: 'Accepted', 204: 'Done', 304: 'Not modified' }[status] ?? 'Success'
}
