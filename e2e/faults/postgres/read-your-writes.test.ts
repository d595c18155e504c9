import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { closeCache } from '#cache'
import { overrideEnvironment } from '#config'
import { closeDatabase } from '#database'
import type { FunctionDefinition } from '#function'
import { call, expectConsistent, functionNamed, newProduct } from '#testing'
import { inRedis, redisUrl } from '#testing/redis'
import { type Pair, startPair } from './replica-fixture.ts'

// Writers read what they have just written, with the token of the write, while the replica has every kind of problem. Other
// readers have no token: whatever they see, they must get an answer.

const WRITERS = 8
/** The minimum for each problem. Each pair is a write and its reads. */
const PAIRS_MIN = 200
/** The pause of each writer after a pair: the failing part needs the machine too. */
const PAUSE_MS = 5

const pauseReplay = ({ onReplica }: Pair) => onReplica((sql) => sql`select pg_wal_replay_pause()`)
const resumeReplay = ({ onReplica }: Pair) => onReplica((sql) => sql`select pg_wal_replay_resume()`)

async function delayReplay({ onReplica }: Pair, delay: string): Promise<void> {
  await onReplica(async (sql) => {
    await sql.unsafe(`alter system set recovery_min_apply_delay = '${delay}'`)
    await sql`select pg_reload_conf()`
  })
}

function signal({ cluster }: Pair, name: NodeJS.Signals): void {
  const { replica } = cluster.pids()
  if (replica === null) throw new Error('the replica is not running')
  process.kill(replica, name)
}

const troubles: Record<string, (pair: Pair) => Promise<void>> = {
  'does not replay now and then': async (pair) => {
    for (let count = 0; count < 3; count++) {
      await pauseReplay(pair)
      await sleep(400)
      await resumeReplay(pair)
      await sleep(200)
    }
  },
  'replays everything late': async (pair) => {
    await delayReplay(pair, '300ms')
    await sleep(2_000)
    await delayReplay(pair, '0')
  },
  'stands still as a whole': async (pair) => {
    signal(pair, 'SIGSTOP')
    await sleep(3_000)
    signal(pair, 'SIGCONT')
  },
  'is killed and comes back': async (pair) => {
    signal(pair, 'SIGKILL')
    await vi.waitFor(() => pair.onReplica((sql) => sql`select 1`), { timeout: 20_000, interval: 50 })
  },
}

for (const { cache, url, isThere } of [
  { cache: 'no cache', url: undefined, isThere: true },
  { cache: 'a cache in memory', url: 'memory:', isThere: true },
  { cache: `a cache ${inRedis}`, url: redisUrl, isThere: redisUrl !== undefined },
]) {
  describe.skipIf(!isThere)(`with ${cache}, whoever brings a token sees what they wrote`, () => {
    let pair: Pair
    let functions: Record<'adjust' | 'getProduct' | 'getStock' | 'queryAvailability', FunctionDefinition>

    beforeAll(async () => {
      functions = {
        adjust: await functionNamed('adjust-stock'),
        getProduct: await functionNamed('get-product'),
        getStock: await functionNamed('get-stock'),
        queryAvailability: await functionNamed('query-availability'),
      }
      pair = await startPair()
      // On a fast machine, the writers exceed the rate limit of one client.
      overrideEnvironment({ CACHE_URL: url, RATE_LIMIT: '0' })
      await closeCache()
    }, 60_000)

    afterAll(async () => {
      await closeCache()
      overrideEnvironment({ CACHE_URL: undefined, RATE_LIMIT: undefined })
      await pair?.stop()
    })

    it.each(Object.keys(troubles))('while the replica %s', async (name) => {
      const products = await Promise.all(Array.from({ length: WRITERS }, () => newProduct({ initialStock: 1 })))
      let pairs = 0
      let isOver = false
      const stale: unknown[] = []
      const answers = new Set<number>()

      const write = async (productId: string) => {
        for (let onHand = 2; !isOver || pairs < PAIRS_MIN; onHand++) {
          const body = { quantity: 1, reason: 'received' }
          const written = await call(functions.adjust, { params: { productId }, body })
          expect(written.status).toBe(201)
          const token = written.headers.get('consistency-token') ?? ''
          const { getProduct, getStock, queryAvailability } = functions
          for (const [definition, options] of [
            [getProduct, { params: { productId } }],
            [getStock, { params: { productId } }],
            [getStock, { params: { productId }, query: { at: written.body.occurredAt } }],
            [queryAvailability, { body: { items: [{ productId }] } }],
          ] as const) {
            const read = await call(definition, { ...options, headers: { 'consistency-token': token } })
            const seen = (read.body.stock ?? read.body.items?.[0] ?? read.body).onHand
            if (read.status !== 200 || seen !== onHand) stale.push({ status: read.status, seen, onHand, token })
          }
          pairs++
          await sleep(PAUSE_MS)
        }
      }
      const readWithoutToken = async () => {
        for (let turn = 0; !isOver; turn++) {
          const productId = products[turn % products.length]?.id ?? ''
          answers.add((await call(functions.getProduct, { params: { productId } })).status)
          await sleep(5)
        }
      }
      const work = Promise.all([...products.map(({ id }) => write(id)), readWithoutToken()])
      await troubles[name]?.(pair).finally(() => {
        isOver = true
      })
      await work
      expect(stale).toEqual([])
      expect(pairs).toBeGreaterThanOrEqual(PAIRS_MIN)
      expect(answers).toEqual(new Set([200]))
      await closeDatabase()
      await expectConsistent()
    })
  })
}
