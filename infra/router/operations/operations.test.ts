import { Agent, request } from 'node:http'
import { expect, test } from 'vitest'
import type { Failure } from '../exchange.ts'
import { createRouter } from '../router.ts'
import { ask, serveRouter } from '../testing/fixtures.ts'
import { docsAssets } from './docs.ts'

const openapi = { openapi: '3.1.0', info: { title: 'Stock <&> more', version: '1' }, paths: {} }

test('is healthy while the process is up', async () => {
  const { url } = await serveRouter({ routes: [] })
  const answer = await ask(url, '/healthz')
  expect([answer.status, answer.json(), answer.headers['cache-control']]).toEqual([200, { status: 'ok' }, 'no-store'])
})

test('is ready where nothing fails, and names what does', async () => {
  const failing: Record<string, string> = {}
  const { url } = await serveRouter({ routes: [], ready: async () => failing })
  expect((await ask(url, '/readyz')).json()).toEqual({ status: 'ready' })
  failing.database = 'connection refused'
  const answer = await ask(url, '/readyz')
  expect([answer.status, answer.headers['content-type']]).toEqual([503, 'application/problem+json'])
  expect(answer.json()).toMatchObject({ code: 'not_ready', failing: { database: 'connection refused' } })
})

test.each([
  ['throws', async () => Promise.reject(new Error('no such host')), /no such host/],
  ['never answers', () => new Promise<never>(() => {}), /no answer within/],
])('is not ready where the check itself %s', async (_case, ready, reason) => {
  const { url } = await serveRouter({ routes: [], ready })
  const answer = await ask(url, '/readyz')
  expect(answer.status).toBe(503)
  expect(answer.json().failing).toEqual({ readiness: expect.stringMatching(reason) })
})

test('serves its description, and 304 to who has it', async () => {
  const { url } = await serveRouter({ routes: [], openapi })
  const answer = await ask(url, '/openapi.json')
  expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/json'])
  expect(answer.json()).toEqual(openapi)
  const again = await ask(url, '/openapi.json', { headers: { 'if-none-match': `W/"x", ${answer.headers.etag}` } })
  expect([again.status, again.text, again.headers.etag]).toEqual([304, '', answer.headers.etag])
})

test('serves the reference page and all it names, from here alone', async () => {
  const { url } = await serveRouter({ routes: [], openapi })
  const page = await ask(url, '/docs')
  expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
  expect(page.text).toContain('<title>Stock &lt;&amp;&gt; more</title>')
  expect(page.text).not.toMatch(/https?:/)
  const named = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path)
  expect(named.sort()).toEqual([...Object.keys(docsAssets), 'start.js'].map((name) => `docs/${name}`).sort())
  for (const path of named) {
    const asset = await ask(url, `/${path}`)
    expect(asset.status, path).toBe(200)
    expect(asset.text.length, path).toBeGreaterThan(50)
    expect(asset.headers['x-content-type-options']).toBe('nosniff')
    expect(asset.headers['content-type']).toMatch(/^(text\/(css|javascript); charset=utf-8|image\/png)$/)
    const again = await ask(url, `/${path}`, { headers: { 'if-none-match': asset.headers.etag } })
    expect(again.status, path).toBe(304)
  }
})

test('the page may load nothing from elsewhere and run nothing inline', async () => {
  const { url } = await serveRouter({ routes: [] })
  const { headers, text } = await ask(url, '/docs')
  expect(headers['content-security-policy']).toContain("default-src 'none'; script-src 'self';")
  expect(text).not.toMatch(/<script>|onload=|style=/)
})

test.each([
  '/docs/',
  '/docs/index.html',
  '/docs/package.json',
  '/docs/swagger-ui-bundle.js.map',
  '/docs/../package.json',
  '/docs/%2e%2e/package.json',
  '/docs/..%2fpackage.json',
])('%s is no part of the reference', async (path) => {
  const { url } = await serveRouter({ routes: [] })
  expect((await ask(url, path)).status).toBe(404)
})

test('HEAD has the length of what GET sends', async () => {
  const { url } = await serveRouter({ routes: [], openapi })
  for (const path of ['/healthz', '/openapi.json', '/docs', '/docs/swagger-ui.css']) {
    const { text } = await ask(url, path)
    const head = await ask(url, path, { method: 'HEAD' })
    expect([head.status, head.text], path).toEqual([200, ''])
    expect(head.headers['content-length'], path).toBe(String(Buffer.byteLength(text)))
  }
})

test('a problem is sent to HEAD without its document', async () => {
  const { url } = await serveRouter({ routes: [] })
  const head = await ask(url, '/nothing', { method: 'HEAD' })
  expect([head.status, head.text]).toEqual([404, ''])
  expect(head.headers['request-id']).toBeDefined()
})

test('a function that claims a path of the router is refused at the start', () => {
  const route = { name: 'x', method: 'GET' as const, path: '/healthz', timeoutMs: 1, maxBodyBytes: 1 }
  const target = { fetch: () => new Response() }
  expect(() => createRouter({ openapi, routes: [{ ...route, target }] })).toThrow(/same route/)
})

test('a function that throws is answered for with a bare 500, and the reason is logged', async () => {
  const logged: Failure[] = []
  const route = { name: 'x', method: 'POST' as const, timeoutMs: 1, maxBodyBytes: 1_000 }
  const failures = [
    () => {
      throw new Error('a secret')
    },
    async () => Promise.reject(new Error('a secret')),
  ]
  const { url } = await serveRouter({
    routes: failures.map((fetch, i) => ({ ...route, path: `/${i}`, target: { fetch } })),
    log: (entry) => logged.push(entry),
  })
  for (const path of ['/0', '/1']) {
    const answer = await ask(url, path, { method: 'POST', body: 'x' })
    expect([answer.status, answer.json().code]).toEqual([500, 'internal'])
    expect(answer.text).not.toContain('secret')
  }
  expect(logged.map(({ route, error }) => [route, String(error.cause)])).toEqual([
    ['/0', 'Error: a secret'],
    ['/1', 'Error: a secret'],
  ])
})

test('a connection serves one request after another, errors between them', async () => {
  const { url, server } = await serveRouter({ routes: [] })
  let connections = 0
  server.on('connection', () => {
    connections += 1
  })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const statuses: Array<number | undefined> = []
  for (const [method, path] of [
    ['GET', '/healthz'],
    ['POST', '/nothing'],
    ['PUT', '/docs'],
    ['GET', '/readyz'],
  ]) {
    const body = method === 'GET' ? undefined : 'a body that nobody wants'
    await new Promise<void>((resolve) => {
      const outgoing = request(`${url}${path}`, { method, agent }, (response) => {
        statuses.push(response.statusCode)
        response.resume().once('end', resolve)
      })
      outgoing.end(body)
    })
  }
  agent.destroy()
  expect(statuses).toEqual([200, 404, 405, 200])
  expect(connections).toBe(1)
})
