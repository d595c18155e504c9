import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { environment } from '#config'
import { expectNoEffect } from '#testing'
import { bundleOf } from '#testing/builds'
import { npmScript } from '#testing/npm-script'
import type { KeptTrace } from './observe/store.ts'
import { freePort } from './ports.ts'
import { killServerProcesses } from './postgres/leftovers.ts'
import { birthOf } from './processes.ts'
import type { Stack } from './stack-file.ts'
import { kill, killServer } from './testing/cluster.ts'
import { waitUntil } from './waits.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

let dataDir: string
let children: ChildProcess[] = []

beforeEach(async () => {
  dataDir = await realpath(await mkdtemp(join(tmpdir(), 'start-')))
})

afterEach(async () => {
  await Promise.all(children.map(kill))
  await Promise.all(['primary', 'replica'].map((name) => killServerProcesses(join(dataDir, 'postgres', name))))
  await rm(dataDir, { recursive: true, force: true })
  children = []
})

// Variables that the test run or the developer's shell may have set.
const UNSET = { DATABASE_URL: '', DATABASE_REPLICA_URL: '', HOST: '', BOOTSTRAP_API_KEY: '' }

interface Run {
  child: ChildProcess
  output: Promise<string>
  exitCode: Promise<number | null>
}

const bundle = async (): Promise<[string, ...string[]]> => [
  process.execPath,
  await bundleOf(new URL('./start.ts', import.meta.url)),
]

async function run(variables: Record<string, string> = {}, args: string[] = [], command = bundle()): Promise<Run> {
  const own = { PORT: String(await freePort()), DATA_DIR: dataDir, SEED: '0' }
  const env = { ...environment(), ...UNSET, ...own, ...variables }
  const [file, ...words] = await command
  const child = spawn(file, [...words, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  const output = Promise.all([text(child.stdout), text(child.stderr)]).then((parts) => parts.join(''))
  const exitCode = once(child, 'exit').then(([code]) => code as number | null)
  return { child, output, exitCode }
}

/** Undefined if there is no stack. The file may appear or disappear at any moment. */
async function readStack(): Promise<Stack | undefined> {
  const text = await readFile(join(dataDir, 'stack.json'), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : JSON.parse(text)
}

/** The stack of this run, once it is up. */
async function up({ child, output }: Run): Promise<Stack> {
  await waitUntil(async () => child.exitCode !== null || (await readStack())?.pids.node === child.pid, 60_000)
  const stack = await readStack()
  if (!stack || stack.pids.node !== child.pid)
    throw new Error(`not up: ${child.exitCode === null ? 'no stack.json' : await output}`)
  return stack
}

async function expectHealthy({ routerUrl, metricsUrl }: Stack): Promise<void> {
  expect(await (await fetch(metricsUrl)).text()).toContain('function_info{function="reserve-stock"')
  expect((await fetch(`${routerUrl}/healthz`)).status).toBe(200)
}

function expectGone({ pids }: Stack): void {
  const births = [pids.node, pids.primary, pids.replica].map((pid) => birthOf(pid ?? 0))
  expect(births).toEqual([undefined, undefined, undefined])
}

test.each([
  ['SIGTERM', async () => npmScript('start')],
  ['SIGINT', bundle],
] as const)('%s stops everything and leaves no process', async (signal, command) => {
  const started = await run({}, [], command())
  const stack = await up(started)
  await expectHealthy(stack)
  started.child.kill(signal)
  // A second signal, for example from an impatient Ctrl-C or forwarded by npm, changes nothing.
  started.child.kill(signal)
  expect(await started.exitCode).toBe(0)
  expectGone(stack)
  expect(await readdir(dataDir)).toEqual(['postgres'])
  for (const url of [stack.routerUrl, stack.metricsUrl]) expect(await started.output).toContain(url)
})

test('a stop during the start ends it, and leaves no process', async () => {
  const started = await run()
  await waitUntil(() => existsSync(join(dataDir, 'postgres/primary.log')), 60_000)
  started.child.kill('SIGTERM')
  expect(await started.exitCode).toBe(0)
  expect(existsSync(join(dataDir, 'stack.json'))).toBe(false)
  expect(existsSync(join(dataDir, 'postgres/primary/postmaster.pid'))).toBe(false)
})

test('after kill -9 the next start takes over, on the same port', async () => {
  const PORT = String(await freePort())
  const first = await run({ PORT })
  const before = await up(first)
  await kill(first.child)
  const second = await run({ PORT })
  const after = await up(second)
  expect(after.routerUrl).toBe(before.routerUrl)
  await expectHealthy(after)
  expectGone(before)
})

test('a killed PostgreSQL comes back, and stack.json has its new process id', async () => {
  const started = await run()
  const before = await up(started)
  killServer(before.pids.replica)
  await waitUntil(async () => (await readStack())?.pids.replica === null, 30_000)
  await waitUntil(async () => typeof (await readStack())?.pids.replica === 'number', 30_000)
  const after = await readStack()
  expect(after).toEqual({ ...before, pids: { ...before.pids, replica: after?.pids.replica } })
  expect(after?.pids.replica).toBeTypeOf('number')
})

test('a second start on the same data is refused in one line, and leaves the first alone', async () => {
  const first = await run()
  const stack = await up(first)
  const second = await run()
  expect(await second.exitCode).toBe(1)
  const message = `${dataDir} is in use by process ${first.child.pid}: stop it first, or set DATA_DIR to another folder.\n`
  expect((await second.output).endsWith(message)).toBe(true)
  expect(await readStack()).toEqual(stack)
  await expectHealthy(stack)
})

test('a taken port is one line, and nothing is started', async () => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  try {
    const address = taken.address()
    const port = typeof address === 'object' ? address?.port : 0
    const started = await run({ PORT: String(port) })
    expect(await started.exitCode).toBe(1)
    expect(await started.output).toBe(
      `Port ${port} on 127.0.0.1 is taken: stop what uses it, or set PORT to another one.\n`,
    )
    expect(await readdir(dataDir)).toEqual([])
  } finally {
    taken.close()
  }
})

test('the development key is refused on an address that others can reach', async () => {
  const started = await run({ HOST: '0.0.0.0' })
  expect(await started.exitCode).toBe(1)
  const message = 'BOOTSTRAP_API_KEY must be a secret of your own when HOST (0.0.0.0) is not a loopback address\n'
  expect(await started.output).toBe(message)
})

test.each([{}, { BOOTSTRAP_API_KEY: 'dev-admin-key' }, { BOOTSTRAP_API_KEY: 'short' }])(
  'on a database of one’s own, %j is refused in one line, and the database is left as it is',
  async (variables) => {
    const { DATABASE_URL = '' } = environment()
    const started = await expectNoEffect(async () => {
      const running = await run({ DATABASE_URL, ...variables })
      await running.exitCode
      return running
    })
    expect(await started.exitCode).toBe(1)
    expect(await started.output).toMatch(/^BOOTSTRAP_API_KEY must [^\n]+\n$/)
    expect(await readdir(dataDir)).toEqual([])
  },
)

test('--help tells the settings', async () => {
  const started = await run({}, ['--help'])
  expect(await started.exitCode).toBe(0)
  expect(await started.output).toContain('DATA_DIR')
})

test('--observe keeps the trace of a request and its line of the log, by the id of either', async () => {
  const stack = await up(await run({ LOG_LEVEL: 'info' }, ['--observe']))
  const answer = await fetch(`${stack.routerUrl}/v1/products`, { headers: { authorization: 'Bearer dev-admin-key' } })
  expect(answer.status).toBe(200)
  const find = async () =>
    (await (
      await fetch(`${stack.tracesUrl}/?${new URLSearchParams({ id: answer.headers.get('request-id') ?? '' })}`)
    ).json()) as KeptTrace[]
  await waitUntil(async () => JSON.stringify(await find()).includes('GET /v1/products'), 10_000)
  const [trace] = await find()
  if (!trace) throw new Error('the trace is not kept')
  expect(trace.lines.join()).toContain('"function":"list-products"')
  expect(await (await fetch(`${stack.tracesUrl}/?id=${trace.traceId}`)).json()).toMatchObject([{ spans: trace.spans }])
})
