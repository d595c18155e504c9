import * as z from 'zod'
import type { FunctionDefinition } from '#function'
import { problemHeaders, successHeaders } from './headers.ts'
import { parametersOf } from './parameters.ts'
import { codesOf, problemResponse } from './problems.ts'
import { type Json, reference, type SchemaOf } from './schemas.ts'

/** What the document says of a function that answers over HTTP. `schemas` gets those that its own have to be named after it. */
export function operationOf(definition: FunctionDefinition, schemaOf: SchemaOf, schemas: Json): Json {
  const { name, summary, scope, tag, request } = definition
  const { body } = request
  const content =
    body && contentOf(request.contentTypes, named(`${pascal(name)}Request`, schemaOf(body, 'input'), schemas))
  return {
    operationId: name,
    summary,
    description: `Needs the scope \`${scope}\`.`,
    tags: [tag],
    parameters: parametersOf(definition, schemaOf),
    ...(content && {
      requestBody: {
        ...(request.description && { description: request.description }),
        required: !body.safeParse({}).success,
        content,
      },
    }),
    responses: { ...successesOf(definition, schemaOf, schemas), ...problemsOf(definition) },
  }
}

function successesOf(definition: FunctionDefinition, schemaOf: SchemaOf, schemas: Json): Json {
  const { name, responses, produces } = definition
  const successes = Object.entries(responses).filter(([status]) => Number(status) < 400)
  return Object.fromEntries(
    successes.map(([status, schema]) => {
      const headers = successHeaders(definition, Number(status))
      const response = { description: describe(Number(status)), headers }
      if (!(schema instanceof z.ZodType)) return [status, response]
      const json = named(`${pascal(name)}Result`, schemaOf(schema, 'output'), schemas)
      return [status, { ...response, content: contentOf(produces, json) }]
    }),
  )
}

function problemsOf(definition: FunctionDefinition): Json {
  return Object.fromEntries(
    [...codesOf(definition)].map(([status, codes]) => [
      status,
      { ...problemResponse(codes), headers: problemHeaders(definition, status, codes) },
    ]),
  )
}

/** A schema is of JSON: of any other media type it says no more than that it is text. */
function contentOf(types: readonly string[], schema: Json): Json {
  return Object.fromEntries(
    types.map((type) => [type, { schema: /[/+]json$/.test(type) ? schema : { type: 'string' } }]),
  )
}

/** An object that has no name of its own gets one: generated clients would make one up from where it is, and change it with that. */
function named(name: string, schema: Json, schemas: Json): Json {
  if (schema.type !== 'object') return schema
  schemas[name] = schema
  return reference(name)
}

const pascal = (name: string) => name.replaceAll(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase())

function describe(status: number): string {
  return { 200: 'OK', 201: 'Created', 202: 'Accepted', 204: 'Done', 304: 'Not modified' }[status] ?? 'Success'
}
