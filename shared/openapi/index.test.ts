import { describe, expect, it } from 'vitest'
import { allFunctions } from '#testing/functions'
import { openApiOf } from './index.ts'

type Json = Record<string, unknown>
interface Operation {
  operationId: string
  summary: string
  description: string
  tags: string[]
  parameters?: Array<{ name: string; in: string; description?: string; schema: Json }>
  requestBody?: { content: Record<string, { schema: Json }> }
  responses: Record<string, { description: string; headers: Json; content?: Record<string, { schema: Json }> }>
}

const functions = await allFunctions()
const document = openApiOf(functions, '0.0.0') as {
  tags: Array<{ name: string; description: string }>
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Json>; headers: Json }
}
const { schemas } = document.components
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })),
)
const ofFunctions = operations.filter(({ path }) => path.startsWith('/v1/'))
const operationNamed = (name: string) => {
  const operation = operations.find(({ operationId }) => operationId === name)
  if (!operation) throw new Error(`there is no ${name}`)
  return operation
}
const headersAt = (name: string, status: number) => Object.keys(operationNamed(name).responses[status]?.headers ?? {})
const parametersOf = (name: string) => operationNamed(name).parameters?.map((parameter) => parameter.name) ?? []
const schemaAt = (name: string, status: number, type = 'application/problem+json') =>
  operationNamed(name).responses[status]?.content?.[type]?.schema

describe('the description of', () => {
  it.each(ofFunctions)('$operationId has what the router answers in its place', ({ responses }) => {
    expect(responses[502]?.description).toContain('bad_gateway')
    expect(responses[503]?.description).toMatch(/overloaded.*unavailable/)
    expect(responses[504]?.description).toContain('gateway_timeout')
    expect(Object.keys(responses)).toEqual(
      expect.arrayContaining(['400', '401', '403', '421', '422', '429', '431', '500']),
    )
  })

  const withBody = ofFunctions.filter(({ method }) => method === 'post' || method === 'patch')
  it.each(withBody)('$operationId has what a body may lead to', ({ responses }) => {
    expect(responses[408]?.description).toBe('`request_timeout`')
    expect(responses[413]?.description).toBe('`too_large`')
    expect(responses[415]?.description).toBe('`unsupported_media_type`')
  })

  const writes = withBody.filter(({ operationId }) => operationId !== 'query-availability')
  it.each(writes)('$operationId has what an Idempotency-Key may lead to', ({ operationId, responses }) => {
    expect(responses[409]?.description).toContain('request_in_progress')
    expect(responses[422]?.description).toMatch(/idempotency_key_reused.*validation_failed/)
    expect(parametersOf(operationId)).toContain('Idempotency-Key')
  })

  it.each(operations)(
    '$operationId explains itself, its tag and its parameters',
    ({ summary, description, tags, parameters }) => {
      expect([summary, description]).toEqual([expect.stringMatching(/\.$/), expect.stringMatching(/\.$/)])
      expect(document.tags.map(({ name }) => name)).toEqual(expect.arrayContaining(tags))
      for (const parameter of parameters ?? []) expect(parameter.description, parameter.name).toMatch(/[.;]|./)
    },
  )

  it.each(operations)('$operationId tells the headers of its answers', ({ operationId, responses }) => {
    for (const [status, { headers }] of Object.entries(responses)) {
      const names = Object.keys(headers)
      expect(names, status).toContain('Request-Id')
      if (status === '401') expect(names).toContain('WWW-Authenticate')
      if (status === '429' || status === '503') expect(names, status).toContain('Retry-After')
      const makesOne = (status === '201' && operationId !== 'adjust-stocks') || status === '202'
      expect(names.includes('Location'), status).toBe(makesOne)
    }
  })
})

describe('the description', () => {
  it('has a schema for each code that has members, told apart by the code', () => {
    expect(schemaAt('reserve-stock', 409)?.oneOf).toEqual(
      expect.arrayContaining([
        { $ref: '#/components/schemas/InsufficientStock' },
        { $ref: '#/components/schemas/PlainProblem' },
      ]),
    )
    const { allOf: [base, own] = [] } = schemas.InsufficientStock as { allOf?: Json[] }
    expect(base).toEqual({ $ref: '#/components/schemas/Problem' })
    expect(own).toMatchObject({
      properties: { code: { enum: ['insufficient_stock'] } },
      required: ['code', 'shortages'],
    })
    expect((schemas.PlainProblem as { allOf: Json[] }).allOf[1]).not.toMatchObject({
      properties: { code: { enum: ['insufficient_stock'] } },
    })
    for (const name of ['CountBelowReserved', 'ValidationFailed', 'NotReady', 'Problem'])
      expect(schemas).toHaveProperty(name)
    expect(schemas.Problem).not.toHaveProperty('additionalProperties')
  })

  it('has a name for every schema that is an object of its own, and a word for every member', () => {
    expect(Object.keys(schemas).filter((name) => !/^[A-Z][A-Za-z]+$/.test(name))).toEqual([])
    for (const { requestBody, responses } of ofFunctions) {
      const contents = [requestBody?.content, ...Object.values(responses).map(({ content }) => content)]
      for (const { schema } of contents.flatMap((content) => Object.values(content ?? {})))
        expect(schema).not.toHaveProperty('properties')
    }
    expect(unexplained(schemas, 'schemas')).toEqual([])
  })

  it('says what a line names, what a quantity may be, and what a file is', () => {
    const names = ['ReserveLineByProductId', 'ReserveLineBySku']
    expect(schemas.ReserveLine).toEqual({ oneOf: names.map((name) => ({ $ref: `#/components/schemas/${name}` })) })
    expect(schemas.ReserveLineBySku).toMatchObject({ required: ['sku', 'quantity'], additionalProperties: false })
    expect(schemas.ReserveLineBySku?.properties).not.toHaveProperty('productId')
    expect(schemas.AdjustStockRequest).toMatchObject({ properties: { quantity: { not: { const: 0 } } } })
    expect(schemaAt('get-job-result', 200, 'text/csv')).toEqual({ type: 'string' })
    expect(schemaAt('get-job-result', 200, 'application/x-ndjson')).toEqual({ type: 'string' })
    expect(JSON.stringify(document)).not.toContain('__schema')
  })

  it('says the same of the cursor that is given and of the one that is taken', () => {
    const taken = operationNamed('list-products').parameters?.find(({ name }) => name === 'cursor')?.schema
    expect(taken).toEqual({ type: 'string', maxLength: 1600, pattern: '^[A-Za-z0-9_-]+$' })
    const given = { anyOf: [taken, { type: 'null' }] }
    expect(schemas.ListProductsResult).toMatchObject({ properties: { nextCursor: given } })
  })

  it('has a Consistency-Token and no Idempotency-Key for a POST that only reads', () => {
    expect(parametersOf('query-availability')).toEqual(['Request-Id', 'Consistency-Token'])
    expect(operationNamed('query-availability').responses).not.toHaveProperty('409')
    expect(headersAt('query-availability', 200)).not.toContain('Idempotent-Replayed')
  })

  it('says what goes with an entity tag', () => {
    expect(parametersOf('get-product')).toEqual(
      expect.arrayContaining(['If-None-Match', 'If-Match', 'Consistency-Token']),
    )
    for (const status of [200, 304]) expect(headersAt('get-product', status)).toContain('ETag')
    expect(headersAt('create-product', 201)).toEqual(
      expect.arrayContaining([
        'ETag',
        'Location',
        'Consistency-Token',
        'Idempotent-Replayed',
        'RateLimit',
        'RateLimit-Policy',
      ]),
    )
    expect(parametersOf('update-product')).toContain('If-Match')
  })

  it('has what the router answers itself, which needs no key', () => {
    for (const path of ['/healthz', '/readyz', '/openapi.json'])
      expect(document.paths[path]?.get).toMatchObject({ security: [] })
    expect(schemaAt('check-readiness', 503)).toEqual({ $ref: '#/components/schemas/NotReady' })
  })
})

/** The paths to members that have no description. */
function unexplained(json: unknown, path: string): string[] {
  if (typeof json !== 'object' || json === null) return []
  const { properties = {} } = json as { properties?: Record<string, Json> }
  const own = Object.entries(properties).filter(([, member]) => member.description === undefined)
  const below = Object.entries(json).flatMap(([name, value]) => unexplained(value, `${path}.${name}`))
  return [...own.map(([name]) => `${path}.${name}`), ...below]
}
