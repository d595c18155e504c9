import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { DEVELOPMENT_KEY } from '#access/bootstrap-key'
import { bundleOf } from '#testing/builds'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { inRabbit, rabbitUrl } from '#testing/rabbit'
import { inRedis, redisUrl } from '#testing/redis'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import { processesNaming, signalAll } from '../../../infra/local/processes.ts'
import type { Stack } from '../../../infra/local/stack-file.ts'

const START_MAX_MS = 120_000
const isMissing = [redisUrl, kafkaUrl, rabbitUrl].includes(undefined)

let dataDir: string

beforeAll(async () => {
  // A comma ends a path for Kafka, a space ends a word for a shell, and this start's C locale only has ASCII letters.
  dataDir = await realpath(await mkdtemp(join(tmpdir(), 'Daten, übrig 库-')))
})

afterAll(async () => {
  signalAll(processesNaming(dataDir), 'SIGKILL')
  await rm(dataDir, { recursive: true, force: true })
})

/** Runs `npm start -- --engines`, and waits until it is up. */
async function start(): Promise<{ child: ChildProcess; stack: Stack }> {
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    PORT: '0',
    DATA_DIR: dataDir,
    SEED: '0',
    LOG_LEVEL: 'warn',
  }
  const entry = await bundleOf(new URL('../../../infra/local/start.ts', import.meta.url))
  const child = spawn(process.execPath, [entry, '--engines'], { env, stdio: 'ignore' })
  const stack = await vi.waitFor(
    async () => {
      const written = JSON.parse(await readFile(join(dataDir, 'stack.json'), 'utf8')) as Stack
      expect(written.pids.node).toBe(child.pid)
      return written
    },
    { timeout: START_MAX_MS, interval: 100 },
  )
  return { child, stack }
}

async function ask(stack: Stack, path: string, body?: object) {
  const headers = { authorization: `Bearer ${DEVELOPMENT_KEY}`, 'content-type': 'application/json' }
  const response = await fetch(`${stack.routerUrl}${path}`, {
    headers,
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  })
  return (await response.json()) as { id: string; state: string }
}

/** Makes work that needs all engines: a change that raises an alert through Kafka, and a job that goes through RabbitMQ. */
async function expectAtWork(stack: Stack, sku: string): Promise<void> {
  const product = await ask(stack, '/v1/products', { sku, name: sku, initialStock: 3, lowStockThreshold: 5 })
  const { id } = await ask(stack, '/v1/jobs', { type: 'verify-ledger', payload: {} })
  await vi.waitFor(async () => expect((await ask(stack, `/v1/jobs/${id}`)).state).toBe('succeeded'), {
    timeout: 30_000,
    interval: 100,
  })
  const alerts = () =>
    withConnection(stack.databaseUrl, (sql) => sql`select state from stock_alerts where product_id = ${product.id}`)
  await vi.waitFor(async () => expect(await alerts()).toEqual([{ state: 'low' }]), { timeout: 30_000, interval: 100 })
}

describe.skipIf(isMissing)(`npm start -- --engines ${[inRedis, inKafka, inRabbit].join(', ')}`, () => {
  it(
    'runs on engines of its own, finds them again after a kill -9 of it all, and leaves none behind',
    async () => {
      const first = await start()
      expect(Object.keys(first.stack.engines ?? {}).sort()).toEqual(['CACHE_URL', 'EVENTS_URL', 'JOBS_URL'])
      await expectAtWork(first.stack, 'BEFORE')
      // Its engines survive, as after a kill of node only. Then one of them dies too.
      first.child.kill('SIGKILL')
      await once(first.child, 'exit')
      const left = processesNaming(join(dataDir, 'engines'))
      expect(left.length).toBeGreaterThanOrEqual(3)
      signalAll(processesNaming(join(dataDir, 'engines', 'kafka')), 'SIGKILL')

      const second = await start()
      await expectAtWork(second.stack, 'AFTER')
      second.child.kill('SIGTERM')
      expect(await once(second.child, 'exit')).toEqual([0, null])
      expect(processesNaming(dataDir)).toEqual([])
    },
    4 * START_MAX_MS,
  )
})
