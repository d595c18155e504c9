import { headersOf } from './headers.ts'
import { ifNoneMatch } from './parameters.ts'
import { problemResponse } from './problems.ts'
import type { Json } from './schemas.ts'

const documentHeaders = [
  'Request-Id',
  'ETag',
  'Cache-Control',
  'Content-Security-Policy',
  'X-Content-Type-Options',
] as const

/** The router's own routes, which need no API key. */
export const operationPaths: Record<string, Json> = {
  '/healthz': {
    get: operation('check-health', 'Check that the process is up.', {
      200: statusResponse('It is up.', 'ok'),
    }),
  },
  '/readyz': {
    get: operation('check-readiness', 'Check that the service is ready.', {
      200: statusResponse('It is ready.', 'ready'),
      503: { ...problemResponse(['not_ready']), headers: headersOf(['Request-Id', 'Cache-Control', 'Retry-After']) },
    }),
  },
  '/openapi.json': {
    get: {
      ...operation('get-description', 'Read this document.', {
        200: {
          description: 'OK',
          headers: headersOf(documentHeaders),
          content: { 'application/json': { schema: { type: 'object', description: 'An OpenAPI document.' } } },
        },
        304: { description: 'Not modified', headers: headersOf(documentHeaders) },
      }),
      parameters: [ifNoneMatch],
    },
  },
}

function operation(operationId: string, summary: string, responses: Json): Json {
  const others = {
    ...problems(['malformed_request'], 400),
    ...problems(['misdirected_request'], 421),
    ...problems(['headers_too_large'], 431),
    ...problems(['internal'], 500),
  }
  return {
    operationId,
    summary,
    description: 'Open: needs no API key.',
    tags: ['operations'],
    security: [],
    responses: { ...responses, ...others },
  }
}

function problems(codes: Parameters<typeof problemResponse>[0], status: number): Json {
  return { [status]: { ...problemResponse(codes), headers: headersOf(['Request-Id', 'Cache-Control']) } }
}

function statusResponse(description: string, status: string): Json {
  const schema = {
    type: 'object',
    properties: { status: { type: 'string', enum: [status], description: 'Always the same.' } },
    required: ['status'],
  }
  return {
    description,
    headers: headersOf(['Request-Id', 'Cache-Control']),
    content: { 'application/json': { schema } },
  }
}
