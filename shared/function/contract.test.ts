import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import * as z from 'zod'
import { type Scope, scopes } from '#database'
import { eventRequest, type FunctionDefinition } from '#function'
import { allFunctions, call, expectNoEffect, hold, newKey, newProduct, sql } from '#testing'

// Every webhook that is created waits for this time.
vi.mock('../webhooks/list-age.ts', () => ({ LIST_AGE_MAX_MS: 10 }))

// What docs and clients may expect of every function, whatever it does. The functions are read from their folder.
const definitions = await allFunctions()
const withTrigger = (kind: string) => definitions.filter(({ trigger }) => trigger.kind === kind)
const httpFunctions = withTrigger('http')
const takesJson = ({ request }: FunctionDefinition) =>
  request.body !== undefined && request.contentTypes.includes('application/json')
const methodOf = ({ trigger }: FunctionDefinition) => (trigger.kind === 'http' ? trigger.method : 'POST')
const pathOf = ({ trigger }: FunctionDefinition) => (trigger.kind === 'http' ? trigger.path : '/')
const paramsOf = (definition: FunctionDefinition) =>
  [...pathOf(definition).matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
const anyParams = (definition: FunctionDefinition) =>
  Object.fromEntries(paramsOf(definition).map((name) => [name, randomUUID()]))
const missing: Record<string, string> = {
  productId: 'product_not_found',
  reservationId: 'reservation_not_found',
  jobId: 'job_not_found',
  webhookId: 'webhook_not_found',
  apiKeyId: 'api_key_not_found',
}

/** The scope that the docs promise for a route whose scope they do not name. */
function scopeByPath(definition: FunctionDefinition): Scope | undefined {
  const path = pathOf(definition)
  const kind = methodOf(definition) === 'GET' ? 'read' : 'write'
  if (/^\/v1\/products\/\{\w+\}\/stock/.test(path)) return `stock:${kind}`
  const root = /^\/v1\/(products|reservations|jobs)/.exec(path)?.[1]
  return root === undefined ? undefined : (`${root}:${kind}` as Scope)
}

const scopesByName: Record<string, Scope> = {
  'list-locations': 'stock:read',
  'set-limit': 'stock:write',
  'adjust-stocks': 'stock:write',
  'query-availability': 'stock:read',
}

describe.each(httpFunctions.map((definition) => ({ name: definition.name, definition })))(
  '$name',
  ({ name, definition }) => {
    const send = (options: Parameters<typeof call>[1] = {}) =>
      call(definition, { params: anyParams(definition), ...options })
    const sendsBody = methodOf(definition) !== 'GET'

    it('asks for the scope of its path', () => {
      expect(definition.scope).toBe(scopesByName[name] ?? scopeByPath(definition) ?? 'admin')
    })

    it.each([
      ['no key', {}],
      ['an empty header', { authorization: '' }],
      ['a scheme without a key', { authorization: 'Bearer' }],
      ['another scheme', { authorization: 'Basic dGVzdC1hZG1pbi1rZXk=' }],
      ['an unknown key', { authorization: 'Bearer unknown' }],
      ['two keys', { authorization: 'Bearer test-admin-key test-admin-key' }],
      ['a key and control characters', { authorization: 'Bearer \u00fc\u0080' }],
    ])('refuses %s as unauthenticated', async (_, headers) => {
      const answer = await expectNoEffect(() => send({ key: null, headers: headers as Record<string, string> }))
      expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated', type: 'about:blank' } })
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
      expect(answer.headers.get('content-type')).toBe('application/problem+json')
    })

    it('refuses a key that has every other scope, and lets one through that has its own', async () => {
      const others = scopes.filter((scope) => scope !== definition.scope && scope !== 'admin')
      const weak = await newKey(...others)
      const answer = await expectNoEffect(() => send({ key: weak, body: sendsBody ? {} : undefined }))
      expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } })
      const own = await newKey(definition.scope as Scope)
      expect([401, 403]).not.toContain((await send({ key: own })).status)
    })

    it.each(['POST', 'PUT', 'DELETE', 'GET', 'PATCH', 'OPTIONS'])(
      'answers %s only if it is its method',
      async (method) => {
        const url = `http://localhost${pathOf(definition).replaceAll(/\{\w+\}/g, () => randomUUID())}`
        const response = await definition.app.fetch(new Request(url, { method }))
        if (method === methodOf(definition)) return expect(response.status).toBe(401)
        expect(response.status).toBe(405)
        expect(response.headers.get('allow')?.split(', ')).toContain(methodOf(definition))
        expect(await response.json()).toMatchObject({ code: 'method_not_allowed', status: 405 })
      },
    )

    it('echoes a fit request id in header and problem, and makes its own for an unfit one', async () => {
      const fit = await send({ key: null, headers: { 'request-id': 'r-1/~!' } })
      expect([fit.headers.get('request-id'), fit.body.requestId]).toEqual(['r-1/~!', 'r-1/~!'])
      for (const unfit of ['x'.repeat(129), 'a b', '\u00fc']) {
        const answer = await send({ key: null, headers: { 'request-id': unfit } })
        expect(answer.headers.get('request-id')).toMatch(/^[0-9a-f-]{36}$/)
        expect(answer.body.requestId).toBe(answer.headers.get('request-id'))
      }
    })

    if (paramsOf(definition).length > 0)
      it.each([
        'x',
        '0',
        ' ',
        '%',
        '\u0000',
        '\u00fc',
        "' or 1=1",
        '{}',
        randomUUID().slice(1),
        `${randomUUID()}0`,
        'a'.repeat(3_000),
        `${'a'.repeat(63)}\u{1F9E2}`,
      ])('takes the id %j for one that names nothing', async (id) => {
        const params = Object.fromEntries(paramsOf(definition).map((param) => [param, id]))
        const [param = ''] = paramsOf(definition)
        const answer = await expectNoEffect(() => send({ params }))
        expect([answer.status, answer.body.code]).toEqual([404, missing[param]])
        expect(answer.body.detail.isWellFormed()).toBe(true)
      })

    if (definition.isRead)
      it('refuses a consistency token that was never one', async () => {
        const answer = await send({ headers: { 'consistency-token': 'junk' } })
        expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: 'Consistency-Token' }] } })
      })

    if (definition.request.query)
      it('refuses unknown query parameters, and known ones given twice', async () => {
        for (const name of ['colour', '__proto__', 'constructor']) {
          const answer = await send({ query: { [name]: 'red' } })
          expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: name }] } })
        }
        const url = `http://localhost${pathOf(definition).replaceAll(/\{\w+\}/g, () => randomUUID())}?limit=1&limit=2`
        const twice = await definition.app.fetch(
          new Request(url, { method: methodOf(definition), headers: { authorization: 'Bearer test-admin-key' } }),
        )
        expect(twice.status).toBe(422)
        expect(await twice.json()).toMatchObject({ errors: [{ path: 'limit', message: 'is given twice' }] })
      })

    if (name.startsWith('list-') && definition.request.query)
      it.each(['0x10', '5e1', '0b11', '0o7', ' 5 ', '5.0', '+5', '', 'Infinity', '1_0'])(
        'refuses the limit %j, which is not in decimal digits',
        async (limit) => {
          expect(await send({ query: { limit } })).toMatchObject({ status: 422, body: { errors: [{ path: 'limit' }] } })
        },
      )

    if (['POST', 'PATCH'].includes(methodOf(definition)) && !definition.isRead)
      it.each(['', '\u00fc', 'x'.repeat(256), 'tab\tinside'])('refuses the idempotency key %j', async (key) => {
        const [contentType = ''] = definition.request.contentTypes
        const headers = { 'idempotency-key': key, 'content-type': contentType }
        const answer = await expectNoEffect(() => send({ body: {}, headers }))
        expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: 'Idempotency-Key' }] } })
      })

    if (sendsBody)
      it('refuses a body over its limit, whether or not its length is told', async () => {
        const body = Buffer.alloc(definition.limits.maxBodyBytes + 1, ' ')
        const [contentType = ''] = definition.request.contentTypes
        const told = await expectNoEffect(() => send({ body, headers: { 'content-type': contentType } }))
        expect(told).toMatchObject({ status: 413, body: { code: 'too_large' } })
        const lying = await send({
          body: '{}',
          headers: { 'content-length': String(definition.limits.maxBodyBytes + 1) },
        })
        expect(lying.status).toBe(413)
      })

    if (sendsBody)
      it.each([
        'text/plain',
        'application/xml',
        'application/jsonp',
        'application/json; charset=utf-16',
        'multipart/form-data; boundary=x',
        '',
        ';',
      ])('refuses a body of type %j', async (contentType) => {
        const answer = await expectNoEffect(() => send({ body: '{}', headers: { 'content-type': contentType } }))
        expect(answer).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } })
      })

    if (takesJson(definition))
      describe('with a JSON body', () => {
        it.each([
          ['{'],
          ['{"a":1}{'],
          ["{'a':1}"],
          ['{"a":1,}'],
          ['undefined'],
          ['\u0000'],
          ['"\u0001"'],
          ['NaN'],
          [new Uint8Array([0x22, 0xff, 0x22])],
          [new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22])],
          [Buffer.from('{}', 'utf16le')],
        ])('refuses %j as malformed', async (body) => {
          const answer = await expectNoEffect(() => send({ body }))
          expect(answer).toMatchObject({ status: 400, body: { code: 'malformed_json' } })
        })

        it.each(['[]', '1', '"{}"', 'null', 'true', '[{}]'])('refuses %s, which is no object', async (body) => {
          const answer = await expectNoEffect(() => send({ body }))
          expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
          expect(answer.body.errors.length).toBeGreaterThan(0)
        })

        it.each(['unknownMember', '__proto__', 'constructor', 'toString', '', '\u0000', 'a.b'])(
          'refuses the unknown member %j, and names it',
          async (member) => {
            const body = `{${JSON.stringify(member)}: {"admin": true}}`
            const answer = await expectNoEffect(() => send({ body }))
            expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
            expect(answer.body.errors).toContainEqual({ path: member, message: 'is not a known member' })
          },
        )

        it('refuses what is nested too deep, without running out of stack', async () => {
          for (const depth of [40, 5_000, 200_000]) {
            const answer = await expectNoEffect(() => send({ body: `${'['.repeat(depth)}${']'.repeat(depth)}` }))
            expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed', errors: [{}] } })
          }
          const objects = await send({ body: `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}` })
          expect(objects.status).toBe(422)
        })

        it.each(['9007199254740993', '-9007199254740993', '1e400', '12345678901234567890', '0.12345678901234567891'])(
          'refuses the number %s, which would not be kept, and names its path',
          async (number) => {
            const answer = await expectNoEffect(() => send({ body: `{"attributes":{"a":[1,{"b.c":${number}}]}}` }))
            expect(answer).toMatchObject({ status: 422, body: { errors: [{ path: 'attributes.a.1.b.c' }] } })
          },
        )

        it('never answers with half a character', async () => {
          for (const body of ['{"\\ud800":1}', `${'x'.repeat(5)}\u{1F9E2}`.repeat(40)]) {
            const answer = await send({ body })
            expect(answer.status).toBeLessThan(500)
            expect(JSON.stringify(answer.body)).not.toMatch(/\\ud[89a-f]/)
          }
        })

        it('takes a body that starts with a byte order mark, and one whose type has parameters', async () => {
          const plain = await send({ body: '{"unknown": 1}' })
          for (const [body, contentType] of [
            ['\ufeff{"unknown": 1}', 'application/json'],
            ['{"unknown": 1}', 'Application/JSON; charset="UTF-8"; x=y'],
          ]) {
            const answer = await send({ body, headers: { 'content-type': contentType as string } })
            expect([answer.status, answer.body.errors]).toEqual([plain.status, plain.body.errors])
          }
        })

        it('never answers odd values with a 500', async () => {
          const { properties = {}, required = [] } = z.toJSONSchema(definition.request.body as z.ZodType, {
            io: 'input',
            unrepresentable: 'any',
          })
          const odd = fc.oneof(
            { weight: 3, arbitrary: fc.constantFrom(...oddValues) },
            fc.json({ maxDepth: 3 }),
            fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
            fc.array(fc.constantFrom(...oddValues), { maxLength: 3 }).map((values) => `[${values.join()}]`),
          )
          const members = fc.dictionary(fc.constantFrom(...Object.keys(properties), '__proto__'), odd, { maxKeys: 2 })
          const { params, valid } = await existing(definition)
          await fc.assert(
            fc.asyncProperty(members, async (values) => {
              const complete = { ...Object.fromEntries(required.map((member) => [member, valid(member)])), ...values }
              const body = `{${Object.entries(complete)
                .map(([member, value]) => `${JSON.stringify(member)}:${value}`)
                .join()}}`
              // `call` fails for anything that the function does not declare.
              expect((await send({ body, params })).status).toBeLessThan(500)
            }),
            { numRuns: 150 },
          )
        })
      })
  },
)

/** Ids of existing things, if the route has a parameter for one, and JSON texts that are valid for a required member. */
async function existing(definition: FunctionDefinition) {
  const product = await newProduct({ initialStock: 1_000 })
  const { id } = await hold([{ productId: product.id, quantity: 2 }])
  let made = 0
  const valid = (member: string) => {
    made++
    const values: Record<string, unknown> = {
      sku: `ODD-${made}`,
      code: `odd-${made}`,
      quantity: 1,
      priority: 1,
      counted: 1,
      ttlSeconds: 60,
      reason: 'received',
      scopes: ['admin'],
      url: 'https://shop.example/',
      events: ['stock.low'],
      lines: [{ productId: product.id, quantity: 1 }],
      items: [{ productId: product.id, quantity: 1 }],
    }
    return JSON.stringify(values[member] ?? 'fit')
  }
  return { params: { ...anyParams(definition), productId: product.id, reservationId: id }, valid }
}

/** JSON texts that have broken programs before. */
const oddValues = [
  '{"length":{"toString":0}}',
  '[{"length":[{"valueOf":0,"toString":0}]}]',
  'null',
  '-0',
  '0',
  '1e400',
  '-1e400',
  '1e308',
  '9007199254740993',
  '2147483648',
  '-2147483649',
  '1000000000',
  '0.1',
  '""',
  '" "',
  '"\\u0000"',
  '"a\\u0000b"',
  '"\\ud800"',
  '"\\udc00\\ud800"',
  '"\\ufeff"',
  '"\\u202e"',
  `"${'x'.repeat(300)}"`,
  `"${'語'.repeat(11_000)}"`,
  '"__proto__"',
  '"2026-02-30T00:00:00Z"',
  '"9999-12-31T23:59:59-23:59"',
  '"EUR"',
  '[]',
  '[[]]',
  '[null]',
  '{}',
  '{"__proto__":{"a":1}}',
  '{"a":{"b":{"c":"\\u0000"}}}',
  '{"amount":1e400,"currency":"EUR"}',
  '{"amount":-1}',
  '[{"productId":"00000000-0000-0000-0000-000000000000","quantity":1}]',
  '[{"sku":"x","quantity":1000000000},{"sku":"x","quantity":1000000000}]',
]

describe.each(
  ['queue', 'stream', 'schedule', 'outbox']
    .flatMap(withTrigger)
    .map((definition) => ({ name: definition.name, definition })),
)('$name', ({ definition }) => {
  const event = { id: 'e-1', source: 'test', specversion: '1.0', type: 'test' } as const

  it.each(['id', 'source', 'specversion', 'type'])('refuses an event without ce-%s for good', async (attribute) => {
    const request = eventRequest(event, {})
    request.headers.delete(`ce-${attribute}`)
    const response = await definition.app.fetch(request)
    expect(response.status).toBe(422)
    expect(await response.json()).toMatchObject({ code: 'validation_failed', errors: [{ path: attribute }] })
  })

  it('refuses an event of another version of the specification for good', async () => {
    const request = eventRequest(event, {})
    request.headers.set('ce-specversion', '0.3')
    expect((await definition.app.fetch(request)).status).toBe(422)
  })

  it('refuses data that is not JSON, or not what it takes, for good', async () => {
    const before = await sql`select count(*) from stock_movements`
    for (const [body, status] of [
      ['{', 400],
      ['[1]', 422],
      ['{"unknown":1}', 422],
    ] as const) {
      const { headers } = eventRequest(event, {})
      const request = new Request('http://function/', { method: 'POST', headers, body })
      expect((await definition.app.fetch(request)).status).toBe(status)
    }
    expect(await sql`select count(*) from stock_movements`).toEqual(before)
  })
})
