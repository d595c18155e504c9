import * as z from 'zod'
import type { FunctionDefinition } from '#function'
import { type ExampleInput, exampleAnswer, exampleBody, isJson } from './examples.ts'
import { problemHeaders, successHeaders } from './headers.ts'
import { parametersOf } from './parameters.ts'
import { codesOf, problemResponse } from './problems.ts'
import { type Json, reference, type SchemaOf } from './schemas.ts'

/** What an operation is described from. `schemas` gets those that its own have to be named after it. */
export interface Source {
  definition: FunctionDefinition
  schemaOf: SchemaOf
  schemas: Json
  /** What the function is sent as an example; one made from its schema where it is left out. */
  input: ExampleInput | undefined
}

/** What the document says of a function that answers over HTTP. */
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

/** A schema is of JSON: of any other media type it says no more than that it is text. */
function contentOf(types: readonly string[], json: Json, exampleOf: (type: string, schema: Json) => unknown): Json {
  return Object.fromEntries(
    types.map((type) => {
      const schema = isJson(type) ? json : { type: 'string' }
      const example = exampleOf(type, schema)
      return [type, { schema, ...(example !== undefined && { example }) }]
    }),
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
