import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { freePort } from '../../../infra/local/ports.ts'
import { closeLater } from '../closing.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const ROUNDS = 9
const START_MAX_MS = 10_000

/** Measures milliseconds from spawning a process to its first HTTP answer: a function's bundle against the smallest possible bundles. */
export async function measureStart(progress: (line: string) => void): Promise<Record<string, number[]>> {
  const folder = await mkdtemp(join(tmpdir(), 'start-time-'))
  const remove = closeLater(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  const reserveStock = join(root, 'dist/functions/reserve-stock/index.mjs')
  const candidates: Record<string, [file: string, settings?: Record<string, string>]> = {
    'bare node:http': [await bundle(BARE_NODE, join(folder, 'node.mjs'))],
    'bare Hono': [await bundle(BARE_HONO, join(folder, 'hono.mjs'))],
    'reserve-stock': [reserveStock],
    'reserve-stock, with traces': [reserveStock, { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' }],
  }
  const times: Record<string, number[]> = {}
  for (let round = 1; round <= ROUNDS; round++) {
    for (const [name, started] of Object.entries(candidates)) {
      times[name] = [...(times[name] ?? []), await startTime(...started)]
    }
    progress(`start, round ${round} of ${ROUNDS}`)
  }
  await remove()
  return times
}

const BARE_NODE = `
  import { createServer } from 'node:http'
  createServer((req, res) => res.end('ok')).listen(Number(process.env.PORT), '127.0.0.1')`

const BARE_HONO = `
  import { serve } from '@hono/node-server'
  import { Hono } from 'hono'
  const app = new Hono()
  app.get('*', (c) => c.text('ok'))
  serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: '127.0.0.1' })`

async function bundle(contents: string, outfile: string): Promise<string> {
  const stdin = { contents, resolveDir: root, loader: 'ts' as const }
  await build({ stdin, outfile, bundle: true, minify: true, platform: 'node', format: 'esm', absWorkingDir: root })
  return outfile
}

/** Measures milliseconds from spawn to the first answer, with any status. */
async function startTime(file: string, settings: Record<string, string> = {}): Promise<number> {
  const port = await freePort()
  const environment = {
    ...process.env,
    PORT: String(port),
    HOST: '127.0.0.1',
    DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
    ...settings,
  }
  const startedAt = performance.now()
  const child = spawn(process.execPath, [file], { env: environment, stdio: 'ignore' })
  try {
    while (performance.now() - startedAt < START_MAX_MS) {
      if (await answers(port)) return performance.now() - startedAt
    }
    throw new Error(`${file} did not answer within ${START_MAX_MS} ms`)
  } finally {
    child.kill('SIGKILL')
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const asking = request(
      { port, host: '127.0.0.1', path: '/v1/reservations', method: 'POST', agent: false },
      (response) => {
        response.resume()
        response.on('end', () => resolve(true))
      },
    )
    asking.on('error', () => setTimeout(resolve, 1, false))
    asking.end()
  })
}
