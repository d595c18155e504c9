import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, vi } from 'vitest'
import { environment } from '#config'
import { newProduct, sql, stockAt } from '#testing'
import { openProxy, type TcpProxy } from '#testing/proxy'
import { type RunningKafka, startKafka } from '../../../infra/local/engines/kafka.ts'
import { freePort } from '../../../infra/local/ports.ts'
import { readTopic } from '../../../shared/events/testing/kafka.ts'

/** A broker for one test file only, which can be killed, behind a network that can fail. */
export interface KafkaStack {
  kafka: RunningKafka
  proxy: TcpProxy
  /** Returns a new EVENTS_URL for each test. */
  newUrl: () => string
  stop: () => Promise<void>
}

export async function startKafkaStack(): Promise<KafkaStack> {
  const port = await freePort()
  const proxy = await openProxy(`kafka://127.0.0.1:${port}`)
  const kafka = await startKafka({ port, isBrief: true, advertisedPort: Number(new URL(proxy.url).port) }).catch(
    async (error) => {
      await proxy.close()
      throw error
    },
  )
  return {
    kafka,
    proxy,
    newUrl: () => `${kafka.url}?partitions=4&prefix=${randomUUID().slice(0, 8)}.`,
    stop: async () => {
      await kafka.stop()
      await proxy.close()
    },
  }
}

/** Returns the seeds of the cycles: a random seed and the following numbers, or only KAFKA_SEED. */
export function seeds(count: number): number[] {
  const { KAFKA_SEED } = environment()
  const first = KAFKA_SEED === undefined ? Math.floor(Math.random() * 1_000_000_000) : Number(KAFKA_SEED)
  return Array.from({ length: KAFKA_SEED === undefined ? count : 1 }, (_, index) => first + index)
}

export const PRODUCTS = 8
const CLIENTS = 6
const CHANGES = 40

/** The plan of a cycle: which products each client changes in turn, and when the faults happen. */
export interface Plan {
  clients: number[][]
  blows: Array<{ changesBefore: number; lastsMs: number }>
}

const plan: fc.Arbitrary<Plan> = fc.record({
  clients: fc.array(fc.array(fc.nat({ max: PRODUCTS - 1 }), { minLength: CHANGES, maxLength: CHANGES, size: 'max' }), {
    minLength: CLIENTS,
    maxLength: CLIENTS,
    size: 'max',
  }),
  blows: fc
    .uniqueArray(fc.integer({ min: 5, max: (CLIENTS * CHANGES) / 2 }), { minLength: 2, maxLength: 2 })
    .chain((moments) =>
      fc.tuple(
        ...moments
          .sort((a, b) => a - b)
          .map((changesBefore) =>
            fc.record({ changesBefore: fc.constant(changesBefore), lastsMs: fc.integer({ min: 50, max: 1_500 }) }),
          ),
      ),
    ),
})

export function planOf(seed: number): Plan {
  const [drawn] = fc.sample(plan, { seed, numRuns: 1 })
  if (!drawn) throw new Error('fast-check drew nothing')
  return drawn
}

/** Changes stock by the plan, and causes each fault after its number of committed changes. Returns the products. */
export async function play({ clients, blows }: Plan, strike: (lastsMs: number) => Promise<void>): Promise<string[]> {
  const products = await Promise.all(Array.from({ length: PRODUCTS }, () => newProduct({ initialStock: 1 })))
  const productIds = products.map(({ id }) => id)
  let changes = 0
  const open = [...blows]
  let striking = Promise.resolve()
  const run = async (changed: number[]) => {
    for (const product of changed) {
      await stockAt(productIds[product] ?? '', 'main', 1)
      changes++
      const next = open[0]
      if (!next || changes < next.changesBefore) continue
      open.shift()
      // Changes continue meanwhile: they do not depend on Kafka.
      striking = striking.then(() => strike(next.lastsMs))
    }
  }
  await Promise.all(clients.map(run))
  await striking
  return productIds
}

export const drained = () =>
  vi.waitFor(async () => expect((await sql`select count(*) as count from outbox`)[0]?.count).toBe(0), {
    timeout: 60_000,
    interval: 50,
  })

/**
 * Fails unless each of the products' events is in its topic, from the first version to the last, and each event appeared before the
 * first appearance of the next one. Returns how many events are there more than once.
 */
export async function expectAllPublished(url: string, productIds: string[]): Promise<number> {
  const messages = [...(await readTopic(url, 'product-events')), ...(await readTopic(url, 'stock-events'))]
  const firsts = new Map<string, Map<number, string>>()
  let repeated = 0
  for (const { key, headers = {} } of messages) {
    const versions = firsts.get(String(key)) ?? new Map<number, string>()
    firsts.set(String(key), versions)
    const [version, id] = [Number(headers.ce_version), String(headers.ce_id)]
    if (versions.has(version)) repeated++
    expect(versions.get(version) ?? id, 'a version is one event, however often it comes').toBe(id)
    versions.set(version, id)
  }
  const levels = await sql<Array<{ productId: string; version: number }>>`
    select product_id as "productId", version from stock_levels where product_id = any(${productIds}::uuid[]) and location = 'main'`
  expect(levels).toHaveLength(productIds.length)
  for (const { productId, version } of levels) {
    const versions = [...(firsts.get(productId)?.keys() ?? [])]
    expect(versions, productId).toEqual(Array.from({ length: version }, (_, index) => index + 1))
  }
  expect(await sql`select 1 from outbox_blocked union all select 1 from dead_events`).toHaveLength(0)
  return repeated
}
