import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { systemContext } from '#database'
import type { FunctionDefinition } from '#function'
import { startEventOutbox, startQueue, startStream } from '#function/triggers'
import { submitJob } from '#jobs'
import {
  type CallOptions,
  type CallResult,
  call,
  expectConsistent,
  functionNamed,
  newKey,
  newProduct,
  sql,
} from '#testing'
import { expectNothingLeft } from '../nothing-left.ts'

// A deployment changes tables while the service uses them. PostgreSQL itself then only refuses statements that were prepared before.

const KEYS = 30
const PRODUCTS = 20
const WORKERS = 6
const STOCK = 1_000_000

/** Columns that the requests below read, write, or both. Each is changed and changed back. */
const columns = [
  ['api_keys', 'name', 'text', 'varchar(200)'],
  ['products', 'description', 'text', 'varchar(10000)'],
  ['stock_levels', 'on_hand', 'integer', 'bigint'],
  ['reservations', 'reference', 'text', 'varchar(200)'],
  ['outbox', 'traceparent', 'text', 'varchar(200)'],
  ['event_log', 'traceparent', 'text', 'varchar(200)'],
  ['event_groups', 'attempts', 'integer', 'bigint'],
  ['jobs', 'type', 'text', 'varchar(100)'],
  ['idempotency_keys', 'request_id', 'text', 'varchar(200)'],
] as const

let functions: Record<string, FunctionDefinition>
const triggers: Array<{ stop: () => Promise<void> }> = []

beforeAll(async () => {
  const names = [
    'list-api-keys',
    'get-product',
    'adjust-stock',
    'reserve-stock',
    'publish-events',
    'process-job',
    'detect-low-stock',
  ]
  functions = Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await functionNamed(name)] as const)),
  )
  triggers.push(
    startEventOutbox(of('publish-events')),
    startQueue(of('process-job')),
    startStream(of('detect-low-stock')),
  )
})
afterAll(() => Promise.all(triggers.map((trigger) => trigger.stop())))

function of(name: string): FunctionDefinition {
  const found = functions[name]
  if (!found) throw new Error(`${name} is not loaded`)
  return found
}

it('while tables change, each answer is that of its own question or 503, and everything goes on', async () => {
  const weak = await Promise.all(Array.from({ length: KEYS }, () => newKey('products:read')))
  const admins = await Promise.all(Array.from({ length: KEYS }, () => newKey('admin')))
  const products = await Promise.all(Array.from({ length: PRODUCTS }, () => newProduct({ initialStock: STOCK })))
  const ids = products.map(({ id }) => id)
  const jobs: string[] = []
  const wrong: unknown[] = []
  const counts: Record<string, number> = {}
  let isChanging = true

  /** Sends requests over and over. Each answer must be `right`, or 503. */
  const keepAsking = async (name: string, options: (turn: number) => CallOptions, right: RightAnswer) => {
    for (let turn = 0; isChanging; turn++) {
      const asked = options(turn)
      const answer = await call(of(name), asked)
      const count = `${name} ${answer.status}`
      counts[count] = (counts[count] ?? 0) + 1
      if (answer.status !== 503 && !right(answer, asked))
        wrong.push({ name, asked, status: answer.status, body: answer.body })
    }
  }
  const pick = <Item>(items: readonly Item[], turn: number) => items[turn % items.length] as Item
  const kinds = (worker: number) => [
    keepAsking(
      'list-api-keys',
      (turn) => ({ key: pick(weak, turn * 7 + worker) }),
      ({ status }) => status === 403,
    ),
    keepAsking(
      'list-api-keys',
      (turn) => ({ key: pick(admins, turn * 7 + worker) }),
      ({ status }) => status === 200,
    ),
    keepAsking(
      'get-product',
      (turn) => ({ params: { productId: pick(ids, turn + worker) } }),
      ({ status, body }, { params }) => status === 200 && body.id === params?.productId,
    ),
    keepAsking(
      'adjust-stock',
      (turn) => ({
        params: { productId: pick(ids, turn + worker) },
        body: { quantity: 1, reason: 'received' },
        headers: { 'idempotency-key': `adjust-${worker}-${turn}` },
      }),
      ({ status, body }, { params }) => status === 201 && body.productId === params?.productId,
    ),
    keepAsking(
      'reserve-stock',
      (turn) => ({ body: { lines: [{ productId: pick(ids, turn * 3 + worker), quantity: 1 }] } }),
      ({ status, body }, { body: sent }) => status === 201 && body.lines[0].productId === linesOf(sent)[0]?.productId,
    ),
  ]
  const workers = Array.from({ length: WORKERS }, (_, worker) => kinds(worker)).flat()
  for (const round of [1, 0]) {
    for (const [table, column, ...types] of columns) {
      const job = await submitJob({ type: 'verify-ledger', payload: {} }, systemContext('function:test'))
      jobs.push(job.id)
      await alter(table, column, types[round] ?? '')
      await sleep(150)
    }
  }
  isChanging = false
  await Promise.all(workers)

  expect(wrong).toEqual([])
  for (const answered of [
    'list-api-keys 200',
    'list-api-keys 403',
    'get-product 200',
    'adjust-stock 201',
    'reserve-stock 201',
  ])
    expect(counts[answered], JSON.stringify(counts)).toBeGreaterThan(20)
  await expectNothingLeft(jobs)
  await expectConsistent()
}, 120_000)

type RightAnswer = (answer: CallResult, asked: CallOptions) => boolean

function linesOf(body: unknown): Array<{ productId: string }> {
  return (body as { lines: Array<{ productId: string }> }).lines
}

/** Changes a column. Like any such change, it waits for sessions that use the table, and may be the victim of a deadlock with them. */
async function alter(table: string, column: string, type: string): Promise<void> {
  await vi.waitFor(() => sql.unsafe(`alter table ${table} alter column ${column} type ${type}`), {
    timeout: 20_000,
    interval: 20,
  })
}
