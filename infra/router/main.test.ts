import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent, createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { bundleOf } from '#testing/builds'
import { startRouter } from './main.ts'
import { parseManifest, proxiedRoutes } from './manifest.ts'
import { ask, originOf, serve, signal } from './testing/fixtures.ts'

const manifest = {
  functions: [
    {
      name: 'get-thing',
      kind: 'http',
      route: { method: 'GET', path: '/v1/things/{thingId}', isRead: true },
      limits: { timeoutMs: 5_000 },
    },
    { name: 'import-things', kind: 'http', route: { method: 'POST', path: '/v1/things' }, limits: { maxBodyBytes: 7 } },
    { name: 'process-job', kind: 'queue' },
  ],
  openapi: { openapi: '3.1.0', info: { title: 'Things' } },
}

async function manifestFile(content: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'router-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const path = join(folder, 'manifest.json')
  await writeFile(path, content)
  return path
}

test("routes go to the upstreams the environment names, else to a host of the function's name", () => {
  const env = { UPSTREAM_GET_THING: 'http://one:1, http://two:2/' }
  const routes = proxiedRoutes(parseManifest(JSON.stringify(manifest)), env)
  expect(routes.map(({ name, timeoutMs, maxBodyBytes, isRead }) => [name, timeoutMs, maxBodyBytes, isRead])).toEqual([
    ['get-thing', 6_000, 1024 * 1024, true],
    ['import-things', 11_000, 7, undefined],
  ])
  expect(routes.map(({ target }) => ('upstreams' in target ? target.upstreams.map(String) : []))).toEqual([
    ['http://one:1/', 'http://two:2/'],
    ['http://import-things:3000/'],
  ])
})

test('list-functions alone is proxied with the upstreams of all functions, also of those without a route', () => {
  const listing = { name: 'list-functions', kind: 'http', route: { method: 'GET', path: '/v1/functions' } }
  const env = { UPSTREAM_PROCESS_JOB: 'http://one:1,http://two:2' }
  const both = JSON.stringify({ ...manifest, functions: [...manifest.functions, listing] })
  const routes = proxiedRoutes(parseManifest(both), env)
  const deployments = routes.flatMap(({ name, target }) =>
    'deployment' in target ? [[name, target.deployment] as const] : [],
  )
  const found = deployments.map(([name, deployment]) => [
    name,
    Array.from(deployment ?? [], ([each, urls]) => [each, urls.map(({ origin }) => origin)]),
  ])
  expect(found).toEqual([
    [
      'list-functions',
      [
        ['process-job', ['http://one:1', 'http://two:2']],
        ['get-thing', ['http://get-thing:3000']],
        ['import-things', ['http://import-things:3000']],
        ['list-functions', ['http://list-functions:3000']],
      ],
    ],
  ])
})

test.each([
  ['a manifest that is no JSON', '{', {}, /JSON/],
  [
    'a function with an unknown method',
    { functions: [{ name: 'x', kind: 'http', route: { method: 'TRACE', path: '/' } }] },
    {},
    /method/,
  ],
  ['an upstream that is no URL', manifest, { UPSTREAM_GET_THING: 'one:two' }, /UPSTREAM_GET_THING|origin/],
  [
    'an upstream of a function without a route with a path',
    {
      ...manifest,
      functions: [
        ...manifest.functions,
        { name: 'list-functions', kind: 'http', route: { method: 'GET', path: '/v1/functions' } },
      ],
    },
    { UPSTREAM_PROCESS_JOB: 'http://one:1/base' },
    /without a path/,
  ],
  ['an upstream with a path', manifest, { UPSTREAM_GET_THING: 'http://one:1/base' }, /without a path/],
  ['a port that is no number', manifest, { PORT: 'http' }, /PORT/],
])('does not start with %s', async (_case, content, env, message) => {
  const MANIFEST = await manifestFile(typeof content === 'string' ? content : JSON.stringify(content))
  await expect(startRouter({ PORT: '0', METRICS_PORT: '0', ...env, MANIFEST })).rejects.toThrow(message)
})

/** Starts the router as its own process, in front of one upstream. */
async function routerProcess(handler: (req: IncomingMessage, res: ServerResponse) => void) {
  const upstream = await serve(createServer(handler))
  const entry = await bundleOf(new URL('index.ts', import.meta.url))
  const MANIFEST = await manifestFile(JSON.stringify(manifest))
  const settings = { MANIFEST, PORT: '0', METRICS_PORT: '0', DRAIN_DELAY_MS: '1000' }
  const env = { ...process.env, ...settings, UPSTREAM_GET_THING: upstream.origin }
  const child = spawn(process.execPath, [entry], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const { url, metricsUrl } = JSON.parse(String(line)) as { url: string; metricsUrl: string }
  return { url, metricsUrl, child, exited }
}

test('SIGTERM: first not ready, then no new connections, then out with what was in flight answered', async () => {
  const arrived = signal<ServerResponse>()
  const { url, child, exited } = await routerProcess((req, res) => {
    expect(req.url).toBe('/v1/things/1?x=y')
    arrived.resolve(res)
  })
  expect((await ask(url, '/readyz')).status).toBe(200)
  const outgoing = get(`${url}/v1/things/1?x=y`, { agent: new Agent({ keepAlive: true }) })
  const upstreamAnswer = await arrived.promise
  child.kill('SIGTERM')
  expect((await ask(url, '/healthz')).status).toBe(200)
  // A second signal cuts nothing.
  child.kill('SIGTERM')
  const statuses = await statusesUntilRefused(url)
  expect(statuses.at(-1)).toBe(503)
  upstreamAnswer.end('in the end')
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  expect(response.headers.connection).toBe('close')
  expect(String(Buffer.concat(await response.toArray()))).toBe('in the end')
  expect(await exited).toEqual([0, null])
})

test('metrics are on a port of their own, and not where clients are', async () => {
  const { url, metricsUrl } = await routerProcess((_, res) => res.end('{}'))
  expect((await ask(url, '/v1/things/1')).status).toBe(200)
  expect((await ask(url, '/metrics')).status).toBe(404)
  const { origin, pathname } = new URL(metricsUrl)
  expect((await ask(origin, '/v1/things/1')).status).toBe(404)
  const { text } = await ask(origin, pathname)
  expect(text).toContain('router_duration_seconds_count{function="get-thing",status="200"} 1\n')
  expect(text).toContain('router_duration_seconds_count{function="none",status="404"} 1\n')
})

test('a taken port is one clear line and exit code 1', async () => {
  const taken = createServer()
  await serve(taken)
  const entry = await bundleOf(new URL('index.ts', import.meta.url))
  const MANIFEST = await manifestFile(JSON.stringify(manifest))
  const env = { ...process.env, MANIFEST, PORT: originOf(taken).port, METRICS_PORT: '0' }
  const child = spawn(process.execPath, [entry], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const output: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk))
  expect(await once(child, 'close')).toEqual([1, null])
  const lines = Buffer.concat(output).toString().trim().split('\n')
  expect(lines.length).toBe(1)
  expect(lines[0]).toContain('port is taken')
})

/** The answers of /readyz, asked until connections are refused. */
async function statusesUntilRefused(url: string): Promise<number[]> {
  const statuses: number[] = []
  for (;;) {
    try {
      statuses.push((await ask(url, '/readyz')).status)
    } catch {
      return statuses
    }
  }
}
