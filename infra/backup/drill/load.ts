import { randomInt, randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Answer, Shop, Write } from './shop.ts'

/** A write that the service acknowledged. */
export interface Acknowledged {
  write: Write
  answer: Answer
}

export interface Load {
  acknowledged: Acknowledged[]
  /** Resolves once `count` writes are acknowledged. Throws if that takes more than a minute. */
  reached: (count: number) => Promise<void>
  /** Sends no more writes, and waits for those in flight. */
  stop: () => Promise<void>
}

const CLIENTS = 8
/** The pause of each client between two writes. That makes some hundred writes a second, each of which is checked later. */
const PAUSE_MS = 20
const REACHED_MAX_MS = 60_000
const PRODUCTS = 12

/** Runs clients that receive goods, hold them, and sell or release the held goods, until they are stopped. */
export async function startLoad(shop: Shop, signal: AbortSignal): Promise<Load> {
  const { text } = await shop.read(`/v1/products?limit=${PRODUCTS}`)
  const products = (JSON.parse(text) as { items: Array<{ id: string }> }).items.map(({ id }) => id)
  const acknowledged: Acknowledged[] = []
  let isStopped = false

  async function ask(path: string, body: object): Promise<Answer | undefined> {
    const write = { path, body, key: randomUUID() }
    // The database is taken away during the load. A write without an answer is not acknowledged.
    const answer = await shop.write(write).catch(() => undefined)
    if (answer && answer.status < 300) acknowledged.push({ write, answer })
    return answer
  }

  async function run(): Promise<void> {
    while (!isStopped && !signal.aborted) {
      const productId = products[randomInt(products.length)]
      await ask(`/v1/products/${productId}/stock/adjustments`, { quantity: 5, reason: 'received' })
      const held = await ask('/v1/reservations', { lines: [{ productId, quantity: 1 }] })
      await delay(PAUSE_MS)
      if (held?.status !== 201) continue
      const { id } = JSON.parse(held.text) as { id: string }
      const end = (['confirm', 'release', undefined] as const)[randomInt(3)]
      if (end) await ask(`/v1/reservations/${id}/${end}`, {})
    }
  }

  const running = Promise.all(Array.from({ length: CLIENTS }, run))
  return {
    acknowledged,
    reached: async (count) => {
      const until = performance.now() + REACHED_MAX_MS
      while (acknowledged.length < count) {
        if (performance.now() > until)
          throw new Error(`Only ${acknowledged.length} writes were acknowledged within a minute.`)
        await delay(PAUSE_MS, undefined, { signal })
      }
    },
    stop: async () => {
      isStopped = true
      await running
    },
  }
}
