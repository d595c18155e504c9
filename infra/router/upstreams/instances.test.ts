import { createServer, type ServerResponse } from 'node:http'
import { createServer as createNetServer } from 'node:net'
import { expect, test, vi } from 'vitest'
import { ask, refusingOrigin, serve, serveRouter } from '../testing/fixtures.ts'

const status = {
  health: 'ok',
  inFlight: 1,
  requests: 20,
  errors: 2,
  p50Ms: 1.5,
  p99Ms: 30,
  startedAt: '2026-03-02T09:15:00.000Z',
  version: '5f2b9c0e7a31d846',
}
const nothing = { inFlight: 0, requests: 0, errors: 0, p50Ms: null, p99Ms: null, startedAt: null, version: null }

const json = (res: ServerResponse, code: number, body: unknown) => {
  res.writeHead(code, { 'content-type': 'application/json', 'x-own': 'kept' }).end(JSON.stringify(body))
}

/** A process of a function that lists `names`, and answers all other requests with `own`. */
function listing(names: string[], own: (res: ServerResponse) => void = (res) => json(res, 200, status)) {
  const items = names.map((name) => ({ name, instances: [] }))
  return serve(createServer((req, res) => (req.url === '/-/status' ? own(res) : json(res, 200, { items }))))
}

/** A process that reports `body` as its status, and records for which function it was asked. */
async function saying(body: unknown, code = 200) {
  const asked: unknown[] = []
  const origin = await serve(
    createServer((req, res) => {
      asked.push(req.headers.function)
      json(res, code, body)
    }),
  )
  return { origin, asked }
}

/** A router in front of list-functions, which runs at `upstreams`, and of a deployment of other functions. */
async function routerOver(
  upstreams: URL[],
  others: Record<string, URL[]>,
  resolve?: (name: string) => Promise<string[]>,
) {
  const deployment = new Map(Object.entries({ 'list-functions': upstreams, ...others }))
  const route = { name: 'list-functions', method: 'GET', path: '/v1/functions', timeoutMs: 5_000 } as const
  const { url } = await serveRouter({
    routes: [{ ...route, maxBodyBytes: 1_024, target: { upstreams, deployment } }],
    ...(resolve && { resolve }),
  })
  return url
}

test('each function has an instance for each address of its upstream, as that says of itself', async () => {
  const lister = await listing(['list-functions', 'get-stock', 'removed'])
  const [one, two] = [await saying(status), await saying({ ...status, health: 'unavailable', requests: 7 })]
  const url = await routerOver([lister], { 'get-stock': [one.origin, two.origin], 'not-listed': [lister] })
  const answer = await ask(url, '/v1/functions')
  expect(answer.json()).toEqual({
    items: [
      { name: 'list-functions', instances: [{ ...status, url: lister.origin }] },
      {
        name: 'get-stock',
        instances: [
          { ...status, url: one.origin.origin },
          { ...status, health: 'unavailable', requests: 7, url: two.origin.origin },
        ],
      },
      { name: 'removed', instances: [] },
    ],
  })
  expect([one.asked, two.asked]).toEqual([['get-stock'], ['get-stock']])
  expect(answer.headers).toMatchObject({ 'x-own': 'kept', 'content-length': String(answer.text.length) })
})

test('what refuses, breaks off, or is another thing is unavailable; what is silent is unknown after 800 ms, and holds up no other', async () => {
  const lister = await listing(['dead', 'broken', 'other', 'junk', 'failing', 'silent', 'fine'])
  const fine = await saying(status)
  const deployment = {
    dead: await refusingOrigin(),
    broken: await serve(createNetServer((socket) => socket.once('data', () => socket.resetAndDestroy()))),
    other: (await saying({}, 421)).origin,
    junk: (await saying({ ...status, health: 'splendid' })).origin,
    failing: (await saying(status, 500)).origin,
    silent: await serve(createNetServer(() => {})),
    fine: fine.origin,
  }
  const url = await routerOver([lister], Object.fromEntries(Object.entries(deployment).map(([n, at]) => [n, [at]])))
  const { items } = (await ask(url, '/v1/functions')).json() as { items: Array<{ name: string; instances: object[] }> }
  const healthOf = Object.fromEntries(items.map(({ name, instances }) => [name, instances]))
  const without = (name: keyof typeof deployment, health: string) => [
    { ...nothing, health, url: deployment[name].origin },
  ]
  expect(healthOf).toEqual({
    dead: without('dead', 'unavailable'),
    broken: without('broken', 'unavailable'),
    other: without('other', 'unavailable'),
    junk: without('junk', 'unavailable'),
    failing: without('failing', 'unavailable'),
    silent: without('silent', 'unknown'),
    fine: [{ ...status, url: fine.origin.origin }],
  })
})

test('a name stands for all of its addresses, and for itself if it has none', async () => {
  const lister = await listing(['get-stock'])
  const named = new URL(`http://get-stock:${lister.port}`)
  const instances = async (resolve: () => Promise<string[]>) => {
    const url = await routerOver([lister], { 'get-stock': [named] }, resolve)
    return ((await ask(url, '/v1/functions')).json() as { items: Array<{ instances: object[] }> }).items[0]?.instances
  }
  expect(await instances(async () => ['127.0.0.1', '127.0.0.2'])).toEqual([
    { ...status, url: `http://127.0.0.1:${lister.port}` },
    { ...nothing, health: 'unavailable', url: `http://127.0.0.2:${lister.port}` },
  ])
  const unavailable = [{ ...nothing, health: 'unavailable', url: named.origin }]
  expect(
    await instances(() => Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }))),
  ).toEqual(unavailable)
  expect(await instances(() => new Promise(() => {}))).toEqual([{ ...unavailable[0], health: 'unknown' }])
})

test('names that nothing resolves, slowly, hold up none that was looked up before, and are looked up few at a time', async () => {
  const lister = await listing(['get-stock', 'gone'])
  const named = (name: string) => new URL(`http://${name}:${lister.port}`)
  const hanging: string[] = []
  let isSlow = false
  const resolve = async (name?: string) => {
    if (name === 'gone') throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
    if (!isSlow || name === 'get-stock') return ['127.0.0.1']
    hanging.push(name ?? '')
    return new Promise<string[]>(() => {})
  }
  const others = ['one', 'two', 'three', 'four']
  const deployment = Object.fromEntries(['get-stock', 'gone', ...others].map((name) => [name, [named(name)]]))
  const url = await routerOver([lister], deployment, resolve)
  const healths = async () => {
    const { items } = (await ask(url, '/v1/functions')).json() as {
      items: Array<{ instances: Array<{ health: string }> }>
    }
    return items.map(({ instances }) => instances[0]?.health)
  }
  expect(await healths()).toEqual(['ok', 'unavailable'])
  isSlow = true
  // A result is used for a second.
  await vi.waitFor(
    async () => {
      expect(await healths()).toEqual(['ok', 'unavailable'])
      expect(hanging.length).toBe(2)
    },
    { timeout: 10_000, interval: 100 },
  )
  for (let more = 0; more < 3; more++) expect(await healths()).toEqual(['ok', 'unavailable'])
  expect(hanging.length).toBe(2)
})

test('lists that are asked for at the same time share one question', async () => {
  const waiting: ServerResponse[] = []
  const lister = await serve(
    createServer((_req, res) => {
      waiting.push(res)
      if (waiting.length === 5) for (const each of waiting) json(each, 200, { items: [{ name: 'get-stock' }] })
    }),
  )
  const asked: ServerResponse[] = []
  const silent = await serve(createServer((_req, res) => void asked.push(res)))
  const url = await routerOver([lister], { 'get-stock': [silent] })
  const answers = await Promise.all(Array.from({ length: 5 }, () => ask(url, '/v1/functions')))
  expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
  expect(asked.length).toBe(1)
})

test('an answer that lists nothing is passed on as it is', async () => {
  const refusing = await serve(createServer((_req, res) => json(res, 403, { code: 'forbidden' })))
  const seen = await saying(status)
  const url = await routerOver([refusing], { 'get-stock': [seen.origin] })
  const answer = await ask(url, '/v1/functions')
  expect([answer.status, answer.json()]).toEqual([403, { code: 'forbidden' }])
  expect(seen.asked).toEqual([])
  const lister = await listing(['get-stock'])
  const head = await ask(await routerOver([lister], {}), '/v1/functions', { method: 'HEAD' })
  expect([head.status, head.headers['x-own'], head.headers['content-length']]).toEqual([200, 'kept', undefined])
})

test.each([
  ['is no list', (res: ServerResponse) => json(res, 200, []), 502],
  ['breaks off', (res: ServerResponse) => void res.writeHead(200).write('{', () => res.destroy()), 502],
  ['is too large', (res: ServerResponse) => void res.writeHead(200).end(Buffer.alloc(1024 * 1024 + 1, ' ')), 502],
])('an answer that %s becomes a problem', async (_case, answerWith, expected) => {
  const lister = await serve(createServer((_req, res) => answerWith(res)))
  const answer = await ask(await routerOver([lister], {}), '/v1/functions')
  expect(answer.status).toBe(expected)
})

test('the router has no status of its own to give', async () => {
  const lister = await listing([])
  const answer = await ask(await routerOver([lister], {}), '/-/status')
  expect([answer.status, answer.json().code]).toEqual([404, 'not_found'])
})
