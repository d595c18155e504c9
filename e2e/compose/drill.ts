import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { drills } from './drills.ts'

const USAGE = `npm run drill -- NAME [--follow]

Breaks one thing in the containers of docker-compose.yml, under a little load, and says how long the alerts take that Prometheus is to
raise, and to clear once it is mended. The stack has to be up with a profile that observes it: docs/observability.md.

  NAME      ${Object.keys(drills).join(', ')}
  --follow  waits until you have followed the runbook and press Enter, instead of mending it
`

/** An alert must fire within five minutes of its fault to be useful. Rates over half an hour take that long to clear. */
const FIRE_MS_MAX = 5 * 60_000
const CLEAR_MS_MAX = 35 * 60_000
const CLIENTS = 2
/** The pause between two requests of a client. */
const PAUSE_MS = 200

const root = fileURLToPath(new URL('../../', import.meta.url))
const say = (line: string) => process.stdout.write(`${line}\n`)

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { follow: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false } },
  })
  const [name = ''] = positionals
  const drill = drills[name]
  if (values.help || drill === undefined || positionals.length !== 1) {
    process.stdout.write(USAGE)
    process.exitCode = values.help ? 0 : 2
    return
  }
  if (existsSync(`${root}.env`)) process.loadEnvFile(`${root}.env`)
  const early = await firing()
  const before = drill.alerts.filter((alert) => early.some((each) => each.startsWith(alert)))
  if (before.length > 0) throw new Error(`${before.join(', ')} fires already. Follow its runbook first.`)
  const load = new AbortController()
  const loading = Promise.all(Array.from({ length: CLIENTS }, () => shop(load.signal)))
  try {
    if (drill.prepare !== undefined) await run(drill.prepare)
    say(`inject: ${drill.inject}`)
    const injectedAt = performance.now()
    const injecting = run(drill.inject)
    await Promise.all([injecting, report(drill.alerts, 'fires', injectedAt, FIRE_MS_MAX)])
    if (values.follow) await enter(`follow docs/runbooks/${name}.md, then press Enter`)
    else await run(drill.mend)
    await report(drill.alerts, 'clears', performance.now(), CLEAR_MS_MAX)
  } finally {
    load.abort()
    await loading
    if (drill.remove !== undefined) await run(drill.remove)
  }
}

/** Reports when each of the alerts first fires, or no longer fires, in seconds since `since`. Throws if that does not happen in time. */
async function report(
  alerts: readonly string[],
  what: 'fires' | 'clears',
  since: number,
  limitMs: number,
): Promise<void> {
  const open = new Set(alerts)
  while (performance.now() - since < limitMs) {
    const now = await firing()
    for (const alert of open) {
      if (now.some((each) => each.startsWith(alert)) !== (what === 'fires')) continue
      say(`${alert} ${what} after ${Math.round((performance.now() - since) / 1_000)} s`)
      open.delete(alert)
    }
    if (open.size === 0) return
    await sleep(1_000)
  }
  throw new Error(`${[...open].join(', ')}: not after ${limitMs / 1_000} s`)
}

async function firing(): Promise<string[]> {
  const response = await fetch(`http://127.0.0.1:${process.env.PROMETHEUS_PORT ?? 9090}/api/v1/alerts`)
  const { data } = (await response.json()) as {
    data: { alerts: Array<{ state: string; labels: { alertname: string; severity: string; slo?: string } }> }
  }
  return data.alerts
    .filter(({ state }) => state === 'firing')
    .map(({ labels: { alertname, severity, slo = '' } }) => `${alertname} ${severity} ${slo}`)
}

const api = () => `http://127.0.0.1:${process.env.PORT ?? 3000}`

/** Reserves and sells until `signal` aborts. Failures meanwhile are the purpose of the drill. */
async function shop(signal: AbortSignal): Promise<void> {
  const headers = { authorization: `Bearer ${process.env.BOOTSTRAP_API_KEY}`, 'content-type': 'application/json' }
  const send = (path: string, body: object) =>
    fetch(`${api()}${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(15_000),
    })
      .then((response) => response.json() as Promise<{ id?: string }>)
      .catch(() => ({ id: undefined }))
  const sku = `DRILL-${Math.random().toString(36).slice(2)}`
  const { id: productId } = await send('/v1/products', { sku, name: 'Sold in a drill', initialStock: 1_000_000 })
  while (!signal.aborted) {
    const { id } = await send('/v1/reservations', { lines: [{ productId, quantity: 1 }], ttlSeconds: 60 })
    if (id !== undefined) await send(`/v1/reservations/${id}/confirm`, {})
    await sleep(PAUSE_MS)
  }
}

/** Runs a command. Throws if it fails. */
function run(command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', command], {
      cwd: root,
      env: { ...process.env, API: api() },
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    child.once('error', reject)
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`${command} ended with ${code}`))))
  })
}

async function enter(line: string): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  await lines.question(`${line}\n`)
  lines.close()
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
