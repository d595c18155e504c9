import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { expect, it } from 'vitest'
import { openApiOf } from '#openapi'
import { readExamples } from '../local/invocation.ts'
import { loadFunctions } from '../local/load-functions.ts'

type Json = Record<string, unknown>
type Content = Record<string, { example?: unknown }>
interface Operation {
  operationId: string
  parameters?: Array<{ name: string; example?: unknown }>
  requestBody?: { content: Content }
  responses: Record<string, { content?: Content }>
}

const functions = await loadFunctions()
const document = openApiOf(functions, '0.0.0', await readExamples(functions)) as { paths: Record<string, Json> }
const operations = Object.entries(document.paths)
  .filter(([path]) => path.startsWith('/v1/'))
  .flatMap(([, methods]) => Object.values(methods) as Operation[])

it.each(operations)('$operationId shows what it may be sent and what it answers', ({ requestBody, responses }) => {
  const bodies = Object.values(requestBody?.content ?? {}).map(({ example }) => example)
  if (requestBody) expect(bodies).toContainEqual(expect.anything())
  const successes = Object.entries(responses).filter(([status]) => Number(status) < 400)
  for (const [status, { content = {} }] of successes)
    for (const [type, { example }] of Object.entries(content)) expect(example, `${status} ${type}`).toBeDefined()
})

it('shows the parameters of what npm run invoke sends', () => {
  const shown = operations.find(({ operationId }) => operationId === 'list-products')?.parameters
  const examples = shown?.filter(({ example }) => example !== undefined).map(({ name, example }) => [name, example])
  expect(Object.fromEntries(examples ?? [])).toEqual({ search: 'mug', sort: 'name', limit: 5 })
})

it('has no example that is not as its schema', () => {
  expect(wrongExamples(document)).toEqual([])
})

it.each([
  ['a body', ['post', 'requestBody', 'content', 'application/json'], { sku: 'no spaces', name: 'Mug' }],
  ['an answer', ['post', 'responses', '201', 'content', 'application/json'], { id: 'x' }],
  ['a parameter', ['get', 'parameters', '0'], 700],
])('would find %s that is not as its schema', (_, pointer, example) => {
  const copy = structuredClone(document)
  const place = pointer.reduce<Json>((json, name) => json[name] as Json, copy.paths['/v1/products'] as Json)
  place.example = example
  expect(wrongExamples(copy)).toEqual([expect.stringContaining(`/v1/products/${pointer.join('/')}: `)])
})

/** Returns the places where an example does not match the schema beside it, and why. */
function wrongExamples(openapi: Json): string[] {
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateSchema: false })
  addFormats.default(ajv)
  ajv.addSchema(openapi, 'openapi')
  const check = (json: unknown, pointer: string[]): string[] => {
    if (typeof json !== 'object' || json === null) return []
    const below = Object.entries(json).flatMap(([name, value]) => check(value, [...pointer, name]))
    if (!('example' in json && 'schema' in json)) return below
    const validate = ajv.compile({ $ref: `openapi#/${[...pointer, 'schema'].map(escapePointer).join('/')}` })
    return validate(json.example) ? below : [...below, `${pointer.join('/')}: ${ajv.errorsText(validate.errors)}`]
  }
  return check(openapi, [])
}

const escapePointer = (name: string) => encodeURIComponent(name.replaceAll('~', '~0').replaceAll('/', '~1'))
