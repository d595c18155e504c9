import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ADMIN_KEY, newProduct } from '#testing'
import { inRedis, redisUrl } from '#testing/redis'
import { type Fleet, startFleet } from '../fleet.ts'

const PROCESSES = 4
const READERS = 500
const ATTEMPTS = 10

describe.skipIf(redisUrl === undefined)(`with a cache ${inRedis}`, () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await startFleet(Array<string>(PROCESSES).fill('get-product'), { CACHE_URL: redisUrl ?? '' })
  })
  afterAll(() => fleet.stop())

  const loads = async () => {
    const texts = await Promise.all(fleet.members.map(({ metrics }) => metrics()))
    return texts.reduce(
      (sum, text) => sum + Number(/^cache_loads_total\{cache="product"\} (\d+)$/m.exec(text)?.[1] ?? 0),
      0,
    )
  }

  it('500 readers of one cold product, at four processes at once, read the database once', async () => {
    const get = async (index: number, productId: string) => {
      const url = fleet.members[index % PROCESSES]?.url()
      const response = await fetch(`${url}/v1/products/${productId}`, {
        headers: { authorization: `Bearer ${ADMIN_KEY}` },
      })
      return [response.status, ((await response.json()) as { stock?: { onHand: number } }).stock?.onHand]
    }
    const readCold = async () => {
      const { id } = await newProduct({ initialStock: 7 })
      const before = await loads()
      const answers = await Promise.all(Array.from({ length: READERS }, (_, index) => get(index, id)))
      expect(new Set(answers.map(String))).toEqual(new Set(['200,7']))
      const loaded = (await loads()) - before
      expect(loaded).toBeLessThanOrEqual(PROCESSES)
      return loaded
    }
    // After this, connections are open and the API key is known.
    const { id: other } = await newProduct()
    await Promise.all(fleet.members.map((_, index) => get(index, other)))
    // A process waits 100 ms for the loading process, and then loads the value itself. On a busy machine, 100 ms is not always enough.
    const counts: number[] = []
    while (counts.at(-1) !== 1 && counts.length < ATTEMPTS) counts.push(await readCold())
    expect(counts).toContain(1)
  })
})
