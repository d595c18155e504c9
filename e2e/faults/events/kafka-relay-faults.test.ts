import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemContext } from '#database'
import { blocked, inRivalSession, newProduct, sql, stockAt } from '#testing'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { publish } from '../../../shared/events/outbox/outbox.ts'
import { withAdmin } from '../../../shared/events/testing/kafka.ts'
import { type Fleet, type Member, startFleet } from '../fleet.ts'
import { drained, expectAllPublished, type KafkaStack, planOf, play, seeds, startKafkaStack } from './kafka-stack.ts'

// Stock is changed while processes of publish-events, and the broker that they publish to, are killed. In the end every
// committed event must be in Kafka, in the order of each product's versions.
//
// A cycle's seed is in its name. `KAFKA_SEED=<seed> npx vitest run e2e/faults/events/kafka-relay-faults.test.ts` runs only that
// cycle.

let stack: KafkaStack
let url: string
const fleets: Fleet[] = []

async function startRelays(count = 1): Promise<Fleet> {
  const fleet = await startFleet(Array<string>(count).fill('publish-events'), { EVENTS_URL: url })
  fleets.push(fleet)
  return fleet
}

/** Runs `work` while a relay has published all events and waits to remove a row that another session has locked. */
async function whileRemovalWaits(work: (relay: Member) => Promise<void>): Promise<string[]> {
  const products = await Promise.all([1, 2, 3].map(() => newProduct({ initialStock: 5 })))
  for (const { id } of products) await stockAt(id, 'main', 1)
  await inRivalSession(async (rival) => {
    await rival`select 1 from outbox order by sequence limit 1 for update`
    const { members } = await startRelays()
    await blocked()
    for (const member of members) await work(member)
  })
  return products.map(({ id }) => id)
}

describe.skipIf(kafkaUrl === undefined)(
  `every committed event is published ${inKafka}, in the order of its product,`,
  () => {
    beforeAll(async () => {
      stack = await startKafkaStack()
    }, 120_000)
    afterAll(() => stack.stop())

    beforeEach(() => {
      url = stack.newUrl()
    })
    afterEach(async () => {
      stack.proxy.mend()
      await Promise.all(fleets.splice(0).map((fleet) => fleet.stop()))
      await sql`truncate outbox, outbox_blocked, dead_events`
    })

    it('though the relay is killed after the broker’s answer, and before the rows are gone', async () => {
      const productIds = await whileRemovalWaits((relay) => relay.kill())
      expect(await expectAllPublished(url, productIds)).toBe(0)
      expect(await sql`select 1 from outbox`).not.toHaveLength(0)
      await startRelays()
      await drained()
      expect(await expectAllPublished(url, productIds)).toBeGreaterThan(0)
    })

    it('though the relay is paused there: another takes over, and what the first does then is no harm', async () => {
      let resume = () => {}
      const productIds = await whileRemovalWaits(async (relay) => {
        resume = relay.pause()
      })
      // The lock belongs to the relay's transaction. The server ends that after 10 s of silence, or now.
      await sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and state = 'idle in transaction'`
      await startRelays()
      await drained()
      resume()
      for (const id of productIds) await stockAt(id, 'main', 1)
      await drained()
      expect(await expectAllPublished(url, productIds)).toBeGreaterThan(0)
    })

    it('though one in front of many is refused, and the way to the broker is long', async () => {
      const products = await Promise.all(Array.from({ length: 300 }, () => newProduct()))
      await startRelays()
      await drained()
      await withAdmin(url, (admin, prefix) => {
        const configEntries = [{ name: 'max.message.bytes', value: '300000' }]
        const resource = { type: 2, name: `${prefix}stock-events`, configEntries }
        return admin.alterConfigs({ validateOnly: false, resources: [resource] })
      })
      stack.proxy.delay(50)
      const refused = randomUUID()
      const data = { text: 'x'.repeat(400_000) }
      const { trace } = systemContext('function:test')
      const event = (productId: string, version: number, body: object) =>
        ({ type: 'stock.adjusted', productId, version, data: body, trace }) as const
      await publish(sql, [event(refused, 1, data), ...products.map(({ id }) => event(id, 2, {}))])
      await vi.waitFor(async () => expect(await sql`select 1 from outbox where product_id <> ${refused}`).toEqual([]), {
        timeout: 60_000,
        interval: 50,
      })
      expect(await sql`select 1 from outbox_blocked where product_id = ${refused}`).toHaveLength(1)
    }, 90_000)

    it.each(seeds(2))('though the broker is killed and started again meanwhile (KAFKA_SEED=%i)', async (seed) => {
      await startRelays()
      const productIds = await play(planOf(seed), async () => {
        await stack.kafka.kill()
        await stack.kafka.restart()
      })
      await drained()
      await expectAllPublished(url, productIds)
    })

    it.each(seeds(2))('though two relays are at work, and are killed in turn (KAFKA_SEED=%i)', async (seed) => {
      const { members } = await startRelays(2)
      let turn = seed
      const productIds = await play(planOf(seed), async () => {
        const member = members[turn++ % members.length]
        await member?.kill()
        await member?.restart()
      })
      await drained()
      await expectAllPublished(url, productIds)
    })
  },
)
