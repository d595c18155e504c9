import type { FunctionDefinition } from '#function'
import type { ExampleInput } from './examples.ts'
import { takesKey } from './problems.ts'
import type { Json, SchemaOf } from './schemas.ts'
import { meaningOf } from './words.ts'

/** The parameters of a function's operation, in its path, query and headers. */
export function parametersOf(definition: FunctionDefinition, schemaOf: SchemaOf, input?: ExampleInput): Json[] {
  return [...inPath(definition), ...inQuery(definition, schemaOf, input), ...inHeaders(definition)]
}

function inPath({ params }: FunctionDefinition): Json[] {
  return Object.entries(params).map(([name, resource]) => ({
    name,
    in: 'path',
    required: true,
    description: `The id of the ${resource}.`,
    schema: { type: 'string', format: 'uuid' },
  }))
}

function inQuery({ request }: FunctionDefinition, schemaOf: SchemaOf, input?: ExampleInput): Json[] {
  if (!request.query) return []
  const { properties = {}, required = [] } = schemaOf(request.query, 'input') as {
    properties?: Record<string, Json>
    required?: string[]
  }
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    description: description ?? meaningOf(name),
    schema,
    ...(input?.params[name] !== undefined && { example: inType(schema, input.params[name]) }),
  }))
}

/** A query has only texts, but the document shows a number as a number. */
const inType = (schema: Json, text: string) => (schema.type === 'integer' ? Number(text) : text)

function inHeaders(definition: FunctionDefinition): Json[] {
  const { isRead, responses } = definition
  return [
    requestId,
    ...(isRead ? [consistencyToken] : []),
    ...(takesKey(definition) ? [idempotencyKey] : []),
    ...(responses[412] ? [ifMatch] : []),
    ...(responses[412] || responses[304] !== undefined ? [ifNoneMatch] : []),
  ]
}

const header = (name: string, description: string, schema: Json): Json => ({ name, in: 'header', description, schema })

const requestId = header('Request-Id', 'Comes back with the answer, and is in the log.', {
  type: 'string',
  pattern: '^[!-~]{1,128}$',
})

const consistencyToken = header('Consistency-Token', 'Of an earlier write’s answer: the read then sees that write.', {
  type: 'string',
  pattern: '^[!-~]{1,200}$',
})

/** Bare, or as a string of RFC 8941: `"k"` and `k` are the same key. */
const idempotencyKey = header(
  'Idempotency-Key',
  'Makes a repeat of this request safe for 24 h: it gets the first answer again. 1 to 255 visible ASCII characters, bare or quoted.',
  { type: 'string', pattern: '^(?:[!#-~](?:[ -~]{0,253}[!-~])?|"(?:[!#-\\[\\]-~]|\\\\["\\\\]){1,255}")$' },
)

const ETAGS = '^(?:\\*|(?:W/)?"[!#-~]*"(?:[ ,]+(?:W/)?"[!#-~]*")*)$'

const ifMatch = header(
  'If-Match',
  'Entity tags of the versions that the request is meant for, or `*`: 412 at any other.',
  {
    type: 'string',
    pattern: ETAGS,
  },
)

export const ifNoneMatch = header('If-None-Match', 'Entity tags of the versions that it is not meant for, or `*`.', {
  type: 'string',
  pattern: ETAGS,
})
