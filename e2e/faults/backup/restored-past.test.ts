import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, chmod, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { bundleOf } from '#testing/builds'
import { npmScript } from '#testing/npm-script'
import { dataOf } from '../../../infra/backup/embedded/backups.ts'
import { ensureRedis, type RunningRedis, startRedis } from '../../../infra/local/engines/redis.ts'
import { killServerProcesses } from '../../../infra/local/postgres/leftovers.ts'
import { readStackFile } from '../../../infra/local/stack-file.ts'
import { openReceiver, type Receiver } from '../../../infra/testing/support/http/receiver.ts'

// A whole stack is set back to a copy of its data. A webhook receiver and a shop still know the changes after that copy, and so do Kafka,
// RabbitMQ and Redis if the stack has them. The tests are steps of one scenario.

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

/** Longer than the scenario takes on any machine, and shorter than the time for which holds are kept after a restore. */
const HOLD_SECONDS = 3_600
const PATIENCE = { timeout: 30_000, interval: 50 }
const fileOf = (path: string) => bundleOf(new URL(`../../../infra/${path}`, import.meta.url))

let dataDir: string
let hasEngines = false
/** Keeps running while the stack is down. */
let redis: RunningRedis | undefined
let receiver: Receiver
let stack: ChildProcess | undefined
let url = ''

async function start(): Promise<void> {
  const settings = { DATA_DIR: dataDir, PORT: '0', SEED: '0', LOG_LEVEL: 'error', WEBHOOK_ALLOW_PRIVATE: '1' }
  const child = spawn(process.execPath, [await fileOf('local/start.ts'), ...(hasEngines ? ['--engines'] : [])], {
    env: { PATH: process.env.PATH, ...settings, ...(redis && { CACHE_URL: redis.url }) },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  stack = child
  await vi.waitFor(
    async () => {
      url = (await readStackFile(dataDir))?.routerUrl ?? ''
      expect(url).not.toBe('')
    },
    { timeout: 120_000, interval: 100 },
  )
}

async function stop(): Promise<void> {
  stack?.kill('SIGTERM')
  if (stack?.exitCode === null) await once(stack, 'exit')
}

/** Returns the command's output, or its error. */
async function backup(...args: string[]): Promise<string> {
  return run([process.execPath, await fileOf('backup/cli.ts')], args)
}

async function run([file, ...words]: [string, ...string[]], args: string[]): Promise<string> {
  const options = { env: { PATH: process.env.PATH, DATA_DIR: dataDir, LOG_LEVEL: 'error' } }
  return promisify(execFile)(file, [...words, ...args], options).then(
    ({ stdout }) => stdout,
    (error: { stderr: string }) => `failed: ${error.stderr}`,
  )
}

/** An answer with the body of a reservation. For a product, only the body's id is read. */
interface Answered {
  status: number
  token: string
  etag: string
  body: { id: string; name: string; expiresAt: string }
}

async function ask(
  method: string,
  path: string,
  body?: object,
  { token, ifMatch }: { token?: string; ifMatch?: string } = {},
): Promise<Answered> {
  const response = await fetch(`${url}/v1${path}`, {
    method,
    headers: {
      authorization: 'Bearer dev-admin-key',
      'content-type': 'application/json',
      ...(token && { 'consistency-token': token }),
      ...(ifMatch && { 'if-match': ifMatch }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })
  return {
    status: response.status,
    token: response.headers.get('consistency-token') ?? '',
    etag: response.headers.get('etag') ?? '',
    body: (await response.json()) as Answered['body'],
  }
}

const events = () => receiver.received.map(({ headers, body }) => ({ id: headers['webhook-id'], ...JSON.parse(body) }))
const versions = () => events().map(({ data }) => data.version as number)

let productId: string
const hold = () => ask('POST', '/reservations', { lines: [{ productId, quantity: 1 }], ttlSeconds: HOLD_SECONDS })
let [kept, sold, forgotten] = ['', '', '']
let [lostToken, lostTag] = ['', '']
let versionsBefore: number[] = []

describe.each([
  { on: 'what is embedded', engines: false },
  { on: 'Kafka, RabbitMQ and Redis', engines: true },
])('a stack on $on', ({ engines }) => {
  beforeAll(async () => {
    dataDir = await realpath(await mkdtemp(join(tmpdir(), 'stock-past-')))
    // Like a clone's folder: under root, PostgreSQL's account may enter it, but no closed folder inside it.
    await chmod(dataDir, 0o755)
    receiver = await openReceiver()
    hasEngines = engines
    if (engines) {
      await ensureRedis(() => {})
      redis = await startRedis()
    }
    await start()
    await ask('POST', '/webhooks', {
      url: receiver.url,
      events: ['stock.reserved', 'stock.confirmed', 'product.updated'],
    })
    productId = (await ask('POST', '/products', { sku: 'PAST', name: 'Past', initialStock: 9 })).body.id
    kept = (await hold()).body.id
    sold = (await hold()).body.id
    await vi.waitFor(() => expect(events()).toHaveLength(2), PATIENCE)
  })

  afterAll(async () => {
    await stop()
    for (const name of ['primary', 'replica', 'restored']) await killServerProcesses(join(dataDir, 'postgres', name))
    await redis?.stop()
    await receiver?.close()
    await rm(dataDir, { recursive: true, force: true, maxRetries: 3 })
  })

  it('copies the data of a running stack, and tells a sound copy from a damaged one', async () => {
    const told = await backup('now')
    expect(told).toMatch(/^\d{8}-\d{6} {2}\S+Z, in \S+ s: \S+ MB\n/)
    expect(told).toContain(
      engines ? 'what is in Redis, Kafka, RabbitMQ, and needs none of it' : 'event log and the queue of jobs',
    )
    expect(await backup('verify')).toBe('1 sound\n')
    const name = told.slice(0, 15)
    expect(await backup('list')).toContain(name)
    const file = join(dataOf(dataDir, name), 'PG_VERSION')
    await appendFile(file, 'x')
    expect(await backup('verify')).toBe(`failed: backup ${name}: PG_VERSION has changed since it was made\n`)
    expect(await backup('restore', '--to', name)).toContain('is in use by process')
    await rm(join(dataDir, 'backups', name), { recursive: true })
    expect(await backup('verify')).toBe('failed: There is no backup.\n')
    expect(await backup('now')).toContain('MB')
  })

  it('restores the copy, once the stack has stopped, and keeps the lost data aside', async () => {
    const confirmed = await ask('POST', `/reservations/${sold}/confirm`)
    expect(confirmed.status).toBe(200)
    const later = await hold()
    forgotten = later.body.id
    lostToken = later.token
    const renamed = await ask('PATCH', `/products/${productId}`, { name: 'Future' })
    lostTag = renamed.etag
    await vi.waitFor(() => expect(events()).toHaveLength(5), PATIENCE)
    versionsBefore = versions()
    // Redis now has the product's state from the lost time.
    expect((await ask('GET', `/products/${productId}`)).body.name).toBe('Future')
    await stop()
    expect(await backup('restore', '--to', '2026-01-01T00:00:00Z')).toContain('keeps no archive of its log')
    expect(await backup('restore', '--to', 'latest', '--dry-run')).toMatch(/^Would put backup/)
    expect(await backup('restore', '--to', 'latest')).toMatch(/Restored to \S+Z\. .* 2 holds are kept/)
  })

  it('serves requests at once, without what came after the copy, and honours a token from then', async () => {
    await start()
    const before = await ask('GET', `/reservations/${sold}`, undefined, { token: lostToken })
    expect(before.body).toMatchObject({ state: 'held' })
    // The second token is of the timeline that the restore began.
    expect([lostToken, before.token].map((token) => token.split('-')[0])).toEqual(['1', '2'])
    const gone = await ask('GET', `/reservations/${forgotten}`, undefined, { token: lostToken })
    expect(gone).toMatchObject({ status: 404, body: { code: 'reservation_not_found' } })
    // A shop needs more time to notice the restore than its holds last.
    const { expiresAt } = (await ask('GET', `/reservations/${kept}`)).body
    expect(Date.parse(expiresAt)).toBeGreaterThan(Date.now() + HOLD_SECONDS * 1_000)
    expect((await hold()).status).toBe(201)
    // Redis keeps a value for ten seconds.
    await vi.waitFor(async () => expect((await ask('GET', `/products/${productId}`)).body.name).toBe('Past'), PATIENCE)
    const edited = await ask('PATCH', `/products/${productId}`, { name: 'Lost again' }, { ifMatch: lostTag })
    expect(edited).toMatchObject({ status: 412, body: { code: 'version_mismatch' } })
  })

  it('publishes and delivers nothing until it is told to, and says what that will do', async () => {
    const told = await backup('resume', '--dry-run')
    expect(told).toContain('1 events wait')
    expect(told).toContain('1 products are then published anew')
    expect(told).toContain('3 holds are there')
    expect(events()).toHaveLength(5)
  })

  it('then goes on with versions that no reader has seen, and tells each product’s readers what there is', async () => {
    expect(await backup('resume')).toContain('1 products are published, and all goes on.')
    await vi.waitFor(() => expect(events()).toHaveLength(7), PATIENCE)
    // Each delivery is a separate job, and deliveries arrive in any order.
    const [reserved, updated] = events()
      .slice(5)
      .sort((a, b) => a.data.version - b.data.version)
    expect(reserved).toMatchObject({ type: 'stock.reserved' })
    expect(updated).toMatchObject({ type: 'product.updated', data: { stock: { onHand: 9, reserved: 3 } } })
    expect(reserved.data.version).toBeGreaterThan(Math.max(...versionsBefore))
    expect(updated.data.version).toBe(reserved.data.version + 1)
    expect(new Set(events().map(({ id }) => id)).size).toBe(7)
    // The shop repeats its lost confirmation.
    expect((await ask('POST', `/reservations/${sold}/confirm`)).status).toBe(200)
    await vi.waitFor(() => expect(events()).toHaveLength(8), PATIENCE)
    expect(Math.max(...versions())).toBe(updated.data.version + 1)
    expect((await ask('GET', '/stock/audit')).body).toMatchObject({ consistent: true })
    expect(await run(npmScript('backup'), ['resume'])).toContain('Nothing waits')
  })
})
