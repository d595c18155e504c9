import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { listeningUrl, startNode } from '../../infra/testing/processes.ts'
import { closeLater } from './closing.ts'

export interface RunningServer {
  port: number
  stop: () => Promise<void>
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** A process that is stopped with SIGTERM, and with SIGKILL where that is not enough. */
const STOP_MS = 15_000

let bundle: Promise<string> | undefined

/** The function's bundle, as `npm run build` made it, under its own host, in a process of its own. */
export async function startReserveStock(databaseUrl: string, folder: string): Promise<RunningServer> {
  bundle ??= copyBundle(folder)
  return start(await bundle, databaseUrl)
}

/** A copy, so that a build in the middle of a run changes nothing about it. */
async function copyBundle(folder: string): Promise<string> {
  const copy = join(folder, 'reserve-stock')
  await cp(join(ROOT, 'dist/functions/reserve-stock'), copy, { recursive: true })
  return join(copy, 'index.mjs')
}

/** The naive handler, bundled as the function is. */
export async function startNaive(databaseUrl: string, folder: string): Promise<RunningServer> {
  const outfile = join(folder, 'naive-server.mjs')
  // The CommonJS part of the server's adapter asks for node's own modules.
  const banner = { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" }
  const entry = fileURLToPath(new URL('naive-server.ts', import.meta.url))
  await build({ entryPoints: [entry], outfile, banner, bundle: true, minify: true, platform: 'node', format: 'esm' })
  return start(outfile, databaseUrl)
}

/** Starts `node file` and waits until it says on which URL it listens. */
export async function start(
  file: string,
  databaseUrl: string,
  environment: Record<string, string> = {},
): Promise<RunningServer> {
  const started = startNode(file, { DATABASE_URL: databaseUrl, PORT: '0', HOST: '127.0.0.1', ...environment })
  const stop = closeLater(async () => {
    started.process.kill('SIGTERM')
    const timer = setTimeout(() => started.process.kill('SIGKILL'), STOP_MS)
    await started.exit.finally(() => clearTimeout(timer))
  })
  const url = await listeningUrl(started)
  return { port: Number(new URL(url).port), stop }
}
