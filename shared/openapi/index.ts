import type * as z from 'zod'
import type { FunctionDefinition } from '#function'
import type { ExampleInput } from './examples.ts'
import { headerObjects } from './headers.ts'
import { operationOf } from './operation.ts'
import { operationPaths } from './operation-routes.ts'
import { problemSchemas } from './problems.ts'
import { type Json, toSchema } from './schemas.ts'
import { tagObjects } from './tags.ts'

export type { ExampleInput } from './examples.ts'
export { toSchema } from './schemas.ts'

/**
 * Makes the OpenAPI 3.1 document of the HTTP functions among `definitions`, from the schemas that they validate with, and of the router's own
 * routes. `inputs` are example requests by function name.
 *
 * @example
 * const document = openApiOf(await loadFunctions(), '1.0.0')
 */
export function openApiOf(
  definitions: readonly FunctionDefinition[],
  version: string,
  inputs: Readonly<Record<string, ExampleInput>> = {},
): Json {
  const schemas: Json = {}
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output') => toSchema(schema, io, schemas)
  Object.assign(schemas, problemSchemas(schemaOf))
  const paths: Record<string, Json> = {}
  for (const definition of definitions) {
    if (definition.trigger.kind !== 'http') continue
    const { method, path } = definition.trigger
    paths[path] = {
      ...paths[path],
      [method.toLowerCase()]: operationOf({ definition, schemaOf, schemas, input: inputs[definition.name] }),
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'stock-management-service',
      version,
      description: 'Products, stock and reservations that never oversell.',
      contact: { name: 'The maintainers of stock-management-service' },
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/', description: 'Where this document comes from.' }],
    security: [{ apiKey: [] }],
    tags: tagObjects(),
    paths: { ...paths, ...operationPaths },
    components: { securitySchemes: { apiKey: apiKeyScheme }, headers: headerObjects, schemas },
  }
}

const apiKeyScheme = {
  type: 'http',
  scheme: 'bearer',
  description: 'An API key. What an operation needs of its scopes is named with it; `admin` has all.',
}
