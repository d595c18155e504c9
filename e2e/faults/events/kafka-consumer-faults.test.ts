import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { closeRelay, relayOutbox } from '#events'
import { sql } from '#testing'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { listeningUrl, type Started, startFixture } from '../processes.ts'
import { type KafkaStack, planOf, play, seeds, startKafkaStack } from './kafka-stack.ts'

// Two processes of one consumer group record every event, in the transaction that marks it as handled, while they, their broker
// and the network between them fail. In the end, every event must be recorded once, in the order of its product.
//
// A cycle's seed is in its name. `KAFKA_SEED=<seed> npx vitest run e2e/faults/events/kafka-consumer-faults.test.ts` runs only
// that cycle.

const MEMBERS = 2
/** A group waits 3 s for a killed member, and the same time for members that were cut off. There are two faults. */
const TIMEOUT_MS = 120_000

let stack: KafkaStack
let url: string
let members: Started[] = []
let relaying: { stop: () => Promise<void> }

/** Starts a member. One member takes batches, and the other takes events one by one. */
async function startMember(index: number): Promise<void> {
  const { DATABASE_URL = '' } = environment()
  const settings = { DATABASE_URL, EVENTS_URL: url, BATCH: index === 0 ? '50' : '', PORT: '0', HOST: '127.0.0.1' }
  const member = await startFixture(new URL('./consumer-fixture.ts', import.meta.url), settings)
  members[index] = member
  await listeningUrl(member)
}

async function stopMember(index: number, signal: NodeJS.Signals): Promise<number | null | undefined> {
  members[index]?.process.kill(signal)
  return members[index]?.exit
}

/** Publishes written events until it is stopped. Tries again if the broker is away. */
function startRelaying() {
  let isStopped = false
  const running = (async () => {
    while (!isStopped) {
      const published = await relayOutbox(systemContext('function:test')).catch(() => 0)
      if (published === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  return {
    stop: async () => {
      isStopped = true
      await running
    },
  }
}

/** Fails unless every event of the products has one effect, and the effects of each product have the order of its versions. */
async function expectEffectsOnce(productIds: string[]): Promise<void> {
  const expected = await sql<Array<{ productId: string; versions: number[] }>>`
    select product_id as "productId", array(select generate_series(2, version)::bigint) as versions
    from stock_levels where product_id = any(${productIds}::uuid[]) and location = 'main' order by product_id`
  const effects = () => sql<Array<{ productId: string; versions: number[] }>>`
    select product_id as "productId", array_agg(version order by sequence) as versions from effects
    group by product_id order by product_id`
  const total = expected.reduce((sum, { versions }) => sum + versions.length, 0)
  await vi.waitFor(async () => expect((await sql`select 1 from effects`).length).toBeGreaterThanOrEqual(total), {
    timeout: 60_000,
    interval: 100,
  })
  // The creation of a product is its first version, and is published in another topic.
  expect([...(await effects())]).toEqual([...expected])
}

describe.skipIf(kafkaUrl === undefined)(
  `every event has its effect once ${inKafka}, in the order of its product,`,
  () => {
    beforeAll(async () => {
      stack = await startKafkaStack()
      await sql`create table effects (
      sequence bigint generated always as identity, event_id uuid not null, product_id uuid not null, version bigint not null)`
    }, 120_000)
    afterAll(() => stack.stop())

    beforeEach(async () => {
      url = stack.newUrl()
      overrideEnvironment({ EVENTS_URL: url })
      await sql`truncate effects, inbox, outbox`
      relaying = startRelaying()
      await Promise.all(Array.from({ length: MEMBERS }, (_, index) => startMember(index)))
    }, 60_000)
    afterEach(async () => {
      stack.proxy.mend()
      await Promise.all(members.map((_, index) => stopMember(index, 'SIGKILL')))
      members = []
      await relaying.stop()
      await closeRelay()
      overrideEnvironment({ EVENTS_URL: undefined })
    })

    const atWork = () =>
      vi.waitFor(async () => expect(await sql`select 1 from effects`).not.toHaveLength(0), { timeout: 20_000 })

    it.each(seeds(1))(
      'though members are killed in the middle of an effect (KAFKA_SEED=%i)',
      async (seed) => {
        let turn = seed
        const productIds = await play(planOf(seed), async () => {
          await atWork()
          const index = turn++ % MEMBERS
          await stopMember(index, 'SIGKILL')
          await startMember(index)
        })
        await expectEffectsOnce(productIds)
      },
      TIMEOUT_MS,
    )

    it.each(seeds(1))(
      'though members are stopped and others started, each of which ends in good order (KAFKA_SEED=%i)',
      async (seed) => {
        let turn = seed
        const codes: unknown[] = []
        const productIds = await play(planOf(seed), async () => {
          await atWork()
          const index = turn++ % MEMBERS
          codes.push(await stopMember(index, 'SIGTERM'))
          await startMember(index)
        })
        await expectEffectsOnce(productIds)
        expect(codes).toEqual([0, 0])
      },
      TIMEOUT_MS,
    )

    it.each(seeds(1))(
      'though the broker is killed and started again (KAFKA_SEED=%i)',
      async (seed) => {
        const productIds = await play(planOf(seed), async () => {
          await atWork()
          await stack.kafka.kill()
          await stack.kafka.restart()
        })
        await expectEffectsOnce(productIds)
      },
      TIMEOUT_MS,
    )

    it.each((['cut', 'silence', 'delay'] as const).flatMap((fault) => seeds(1).map((seed) => [fault, seed] as const)))(
      'though the network fails by %s (KAFKA_SEED=%i)',
      async (fault, seed) => {
        const productIds = await play(planOf(seed), async (lastsMs) => {
          await atWork()
          stack.proxy[fault](100)
          await new Promise((resolve) => setTimeout(resolve, fault === 'silence' ? 5 * lastsMs : lastsMs))
          stack.proxy.mend()
        })
        await expectEffectsOnce(productIds)
        expect(members.map(({ process: { exitCode } }) => exitCode)).toEqual([null, null])
      },
    )
  },
)
