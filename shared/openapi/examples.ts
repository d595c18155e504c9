import type { Json } from './schemas.ts'

/** An example request: the parameters of path and query, the headers, and the body. */
export interface ExampleInput {
  params: Record<string, string>
  headers: Record<string, string>
  data?: unknown
}

const productId = '019a0c3e-7b10-7c3a-9d52-5f0e8a4b1c77'
const time = '2026-03-02T09:15:00.000Z'

/** Example values of members, by name, or by schema and name. All other values are made from their schema. */
const values: Json = {
  actor: 'api-key:019a0c3f-0a54-7d4e-8a0c-2f6b9e1d7c35',
  amount: 2490,
  attempts: 0,
  'DeadEvent.attempts': 1,
  'DeadLetter.attempts': 10,
  attributes: { colour: 'white' },
  available: 23,
  before: 340,
  checkedProducts: 64,
  confirmedQuantity: 0,
  counted: 338,
  currency: 'EUR',
  description: 'Stoneware, white.',
  disabledReason: null,
  discrepancies: [],
  done: 0,
  error: null,
  'DeadEvent.error': 'validation_failed: The event is not valid.',
  'DeadLetter.error': 'The database did not answer.',
  eventId: '019a0c43-3f1e-7c52-9a6d-1b7e4f8a0c35',
  expiresAt: '2026-03-02T09:30:00.000Z',
  'ApiKey.expiresAt': null,
  'DeployedFunction.emits': ['stock.reserved', 'stock.released', 'stock.expired'],
  'DeployedFunction.limits': { inFlight: 512, timeoutMs: 5_000, maxBodyBytes: 1_048_576 },
  'DeployedFunction.name': 'reserve-stock',
  'DeployedFunction.scope': 'reservations:write',
  'DeployedFunction.summary': 'Hold stock for every line, or for none.',
  'DeployedFunction.trigger': { kind: 'http', method: 'POST', path: '/v1/reservations' },
  'FunctionInstance.errors': 0,
  'FunctionInstance.inFlight': 3,
  'FunctionInstance.p50Ms': 3.8,
  'FunctionInstance.p99Ms': 21.3,
  'FunctionInstance.requests': 10_482,
  'FunctionInstance.url': 'http://reserve-stock:3000',
  'FunctionInstance.version': '5f2b9c0e7a31d846',
  group: 'detect-low-stock',
  holder: 'shopper-7',
  id: '019a0c41-22f4-7e06-b1c8-3d9a6e5f0b12',
  'Product.id': productId,
  jobId: '019a0c42-51c9-7f3b-b0de-8c1a6d2e4f90',
  key: 'smk_1f0a9c3e_shown-this-once',
  location: 'main',
  'Location.code': 'main',
  'Location.name': 'Main warehouse',
  lowStockThreshold: 5,
  name: 'Mug, white',
  'ApiKey.name': 'web shop',
  nextCursor: null,
  note: null,
  onHand: 25,
  onHandAfter: 25,
  onHandDelta: 12,
  payload: { format: 'csv' },
  perHolder: 6,
  perReservation: 2,
  prefix: 'smk_1f0a9c3e',
  priority: 10,
  productId,
  quantity: 2,
  redriven: 3,
  reason: 'received',
  reference: 'cart-7',
  reservationId: null,
  reserved: 2,
  reservedAfter: 2,
  reservedDelta: 0,
  result: null,
  secret: 'whsec_c2hvd24gdGhpcyBvbmNlLCBhbmQgbmV2ZXIgYWdhaW4=',
  sku: 'KIT-MUG-WHT',
  total: 64,
  topic: 'stock-events',
  'DeadEvent.type': 'stock.adjusted',
  'DeadLetter.type': 'export-stock',
  'Job.type': 'import-products',
  updatedAt: time,
  url: 'https://shop.example/stock-events',
  variance: -2,
  version: 1,
}

const audit = { consistent: true, checkedProducts: 64, discrepancies: [] }

/** Example values that only the answers of one function have. */
const outcomes: Record<string, Json> = {
  'get-job': { type: 'verify-ledger', state: 'succeeded', attempts: 1, done: 64, result: audit },
  'confirm-reservation': { state: 'confirmed', confirmedQuantity: 2 },
  'release-reservation': { state: 'released' },
}

/** Examples of answers that are not JSON. */
const texts: Record<string, string> = {
  'text/csv': `productId,sku,onHand,reserved,available\r\n${productId},KIT-MUG-WHT,25,2,23\r\n`,
  'application/x-ndjson': `{"productId":"${productId}","sku":"KIT-MUG-WHT","onHand":25,"reserved":2,"available":23}\n`,
}

/** An example answer of a function, in a media type. It repeats members of the request. */
export function exampleAnswer(type: string, schema: Json, schemas: Json, name: string, input?: ExampleInput): unknown {
  if (!isJson(type)) return texts[type]
  const told = Object.entries((input?.data ?? {}) as Json).filter(([, value]) => isPlain(value))
  return exampleOf(schema, schemas, { ...Object.fromEntries(told), ...outcomes[name] })
}

/** An example body of a media type; undefined if the example request has another type. */
export function exampleBody(type: string, schema: Json, schemas: Json, input?: ExampleInput): unknown {
  if (isJson(type)) return input?.data ?? exampleOf(schema, schemas, {})
  return input?.headers['content-type'] === type ? input.data : undefined
}

export const isJson = (type: string) => /[/+]json$/.test(type)

const isPlain = (value: unknown) => [value].flat().every((each) => typeof each !== 'object' || each === null)

/** `known` takes precedence. The last parameter is the name of the nearest named schema, and the member's name. */
function exampleOf(schema: Json, schemas: Json, known: Json, [owner, name]: [string, string] = ['', '']): unknown {
  const own = [
    known[name],
    ...(Array.isArray(schema.enum) ? schema.enum : []),
    values[`${owner}.${name}`],
    values[name],
  ]
  const value = own.find((each) => each !== undefined)
  if (value !== undefined) return value
  if (typeof schema.$ref === 'string') {
    const target = schema.$ref.split('/').at(-1) ?? ''
    return exampleOf(schemas[target] as Json, schemas, known, [target, name])
  }
  const [alternative] = [schema.anyOf, schema.oneOf].flatMap((each) => (each ?? []) as Json[])
  if (alternative) return exampleOf(alternative, schemas, known, [owner, name])
  if (schema.type === 'array') return [exampleOf(schema.items as Json, schemas, known, [owner, ''])]
  if (schema.type === 'object') {
    const members = Object.entries((schema.properties ?? {}) as Record<string, Json>)
    return Object.fromEntries(members.map(([each, of]) => [each, exampleOf(of, schemas, known, [owner, each])]))
  }
  const made: Json = { uuid: productId, 'date-time': time, boolean: true, string: 'text' }
  return made[String(schema.format)] ?? made[String(schema.type)] ?? audit
}
