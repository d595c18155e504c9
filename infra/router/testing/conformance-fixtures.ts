import { once } from 'node:events'
import type { HttpBindings } from '@hono/node-server'
import { Hono } from 'hono'
import { ServiceError } from '#errors'
import { problemDocument, problemHeaders, toServiceError } from '#function/problem'
import { readBody } from '#function/read-body'
import type { RouteEntry } from '../route.ts'
import { signal } from './fixtures.ts'

export const limits = { timeoutMs: 30_000, maxBodyBytes: 256 * 1024 }
export const routes: RouteEntry[] = [
  { name: 'get-thing', method: 'GET', path: '/v1/things/{thingId}', ...limits },
  { name: 'put-thing', method: 'POST', path: '/v1/things/{thingId}', ...limits },
  { name: 'drop-thing', method: 'DELETE', path: '/v1/things/{thingId}', ...limits },
  { name: 'cached-thing', method: 'GET', path: '/v1/cached', ...limits },
  { name: 'cookies', method: 'GET', path: '/v1/cookies', ...limits },
  { name: 'missing', method: 'GET', path: '/v1/missing', ...limits },
  { name: 'wait', method: 'GET', path: '/v1/wait', ...limits },
  { name: 'trickle', method: 'GET', path: '/v1/trickle', ...limits },
]

/** An app that behaves like a function, as far as a router can tell. The test controls the answers that must wait. */
export function createFunctions() {
  const app = new Hono()
  const waiting = signal()
  const left = signal()
  const trickle = signal<ReadableStreamDefaultController<Uint8Array>>()
  const seen = { requests: 0 }
  app.use(async (_c, next) => {
    seen.requests += 1
    await next()
  })
  app.get('/v1/things/:id', (c) =>
    c.json({ id: c.req.param('id'), query: c.req.query(), requestId: c.req.header('request-id') }),
  )
  app.post('/v1/things/:id', async (c) => {
    const http = c.env as Partial<HttpBindings>
    const bytesMax = limits.maxBodyBytes
    const { blocks } = await readBody({ request: c.req.raw, http, apiKeyId: undefined, bytesMax })
    return c.json({ bytes: Buffer.concat(blocks).length, type: c.req.header('content-type') }, 201, {
      location: '/v1/things/1',
    })
  })
  app.delete('/v1/things/:id', (c) => c.body(null, 204))
  app.get('/v1/cached', (c) => c.body(null, 304, { etag: '"1.1"' }))
  app.get('/v1/cookies', (c) => {
    c.header('set-cookie', 'a=1', { append: true })
    c.header('set-cookie', 'b=2; Path=/', { append: true })
    return c.text('two')
  })
  app.get('/v1/missing', (c) => {
    const context = { instance: c.req.path, requestId: c.req.header('request-id') ?? '' }
    const error = new ServiceError('product_not_found', 'No such product.')
    return c.json(problemDocument(error, context), 404, problemHeaders(error))
  })
  app.get('/v1/wait', async (c) => {
    waiting.resolve()
    await once(c.req.raw.signal, 'abort')
    left.resolve()
    return c.text('nobody reads this')
  })
  app.get('/v1/trickle', (c) => c.body(new ReadableStream({ start: (controller) => trickle.resolve(controller) })))
  app.onError((thrown, c) => {
    const error = toServiceError(thrown)
    const context = { instance: c.req.path, requestId: c.req.header('request-id') ?? '' }
    return c.json(problemDocument(error, context), error.status as 500, problemHeaders(error))
  })
  return { app, waiting: waiting.promise, left: left.promise, trickle: trickle.promise, seen }
}
