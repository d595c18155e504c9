import * as z from 'zod'
import type { FunctionDefinition } from '#function'
import { type ExampleInput, exampleAnswer, exampleBody, isJson } from './examples.ts'
import { problemHeaders, successHeaders } from './headers.ts'
import { parametersOf } from './parameters.ts'
import { codesOf, problemResponse } from './problems.ts'
import { type Json, reference, type SchemaOf } from './schemas.ts'

/** The source of an operation's description. Schemas named after the operation are added to `schemas`. */
export interface Source {
  definition: FunctionDefinition
  schemaOf: SchemaOf
  schemas: Json
  /** An example request. Without it, an example is made from the schema. */
  input: ExampleInput | undefined
}

/** Describes an HTTP function. */
export function operationOf(source: Source): Json {
  const { definition, schemaOf, schemas, input } = source
  const { name, summary, scope, tag, request } = definition
  const { body } = request
  const content =
    body &&
    contentOf(request.contentTypes, named(`${pascal(name)}Request`, schemaOf(body, 'input'), schemas), (type, schema) =>
      exampleBody(type, schema, schemas, input),
    )
  return {
    operationId: name,
    summary,
    description: `Needs the scope \`${scope}\`.`,
    tags: [tag],
    parameters: parametersOf(definition, schemaOf, input),
    ...(content && {
      requestBody: {
        ...(request.description && { description: request.description }),
        required: !body.safeParse({}).success,
        content,
      },
    }),
    responses: { ...successesOf(source), ...problemsOf(definition) },
  }
}

function successesOf({ definition, schemaOf, schemas, input }: Source): Json {
  const { name, responses, produces } = definition
  const successes = Object.entries(responses).filter(([status]) => Number(status) < 400)
  return Object.fromEntries(
    successes.map(([status, schema]) => {
      const headers = successHeaders(definition, Number(status))
      const response = { description: describe(Number(status)), headers }
      if (!(schema instanceof z.ZodType)) return [status, response]
      const json = named(`${pascal(name)}Result`, schemaOf(schema, 'output'), schemas)
      const example = (type: string, of: Json) => exampleAnswer(type, of, schemas, name, input)
      return [status, { ...response, content: contentOf(produces, json, example) }]
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

/** Schemas describe JSON. Any other media type is described only as text. */
function contentOf(types: readonly string[], json: Json, exampleOf: (type: string, schema: Json) => unknown): Json {
  return Object.fromEntries(
    types.map((type) => {
      const schema = isJson(type) ? json : { type: 'string' }
      const example = exampleOf(type, schema)
      return [type, { schema, ...(example !== undefined && { example }) }]
    }),
  )
}

/** Names an unnamed object: generated clients would otherwise derive a name from its place, and change the name with the place. */
function named(name: string, schema: Json, schemas: Json): Json {
  if (schema.type !== 'object') return schema
  schemas[name] = schema
  return reference(name)
}

const pascal = (name: string) => name.replaceAll(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase())

function describe(status: number): string {
  return { 200: 'OK', 201: 'Created', 202: 'Accepted', 204: 'Done', 304: 'Not modified' }[status] ?? 'Success'
}
