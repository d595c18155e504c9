import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { closeRelay, listDeadEvents, redriveDeadEvents, relayOutbox } from '#events'
import { deadEvent, sql } from '#testing'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { ATTEMPTS_MAX } from '../../../shared/events/delivery/waits.ts'
import { publish } from '../../../shared/events/outbox/outbox.ts'
import { kafkaSettings, readTopic, withAdmin } from '../../../shared/events/testing/kafka.ts'
import { startFixture } from '../processes.ts'

// An event kills each process that handles it. The process is started again each time, as a supervisor would.

const GROUP = 'count-effects'
const TOPIC = 'stock-events'
/** A poison message is identified after two or three crashes. Each crash costs the start of a process. */
const DEATHS_MAX = ATTEMPTS_MAX + 2
const TIMEOUT_MS = 120_000

/** The parts that differ between the event logs. */
interface Log {
  name: string
  url: string | undefined
  /** Frees the partitions of dead members for another member. Otherwise, they would stay unread for 10 s and more. */
  removeDeadMembers: () => Promise<void>
  /** Returns product, version and attempts of the dead letters. */
  deadLetters: () => Promise<string[][]>
}

async function publishAll(events: Array<{ productId: string; version: number; kills?: boolean }>): Promise<void> {
  const { trace } = systemContext('function:test')
  await publish(
    sql,
    events.map((data) => ({ type: 'stock.adjusted', productId: data.productId, version: data.version, data, trace })),
  )
  await relayOutbox(systemContext('function:test'))
}

const effectsOf = async (productId: string) =>
  (
    await sql<Array<{ version: number }>>`select version from effects where product_id = ${productId} order by sequence`
  ).map(({ version }) => version)

/** Starts one member after the other until one survives until `isDone`. Returns how many died. */
async function startUntil(
  isDone: () => Promise<boolean>,
  { url = 'postgres:', removeDeadMembers }: Log,
  batch: string,
): Promise<number> {
  const { DATABASE_URL = '' } = environment()
  const settings = { DATABASE_URL, EVENTS_URL: url, BATCH: batch, PORT: '0', HOST: '127.0.0.1' }
  for (let deaths = 0; deaths <= DEATHS_MAX; deaths++) {
    const member = await startFixture(new URL('./consumer-fixture.ts', import.meta.url), settings)
    let isDead = false
    void member.exit.then(() => {
      isDead = true
    })
    await vi.waitFor(async () => expect(isDead || (await isDone())).toBe(true), { timeout: 30_000, interval: 50 })
    if (!isDead) {
      member.process.kill('SIGTERM')
      expect(await member.exit).toBe(0)
      return deaths
    }
    await removeDeadMembers()
    // The test does not wait for the end of a lease either.
    await sql`update dead_events set due_at = now() where due_at is not null`
  }
  throw new Error(`more than ${DEATHS_MAX} processes died`)
}

const logs: Log[] = [
  {
    name: 'in the database',
    url: 'postgres:',
    removeDeadMembers: async () => {
      await sql`update event_groups set held_until = now()`
    },
    deadLetters: async () =>
      (await sql`select product_id, version, attempts from dead_events`).map((row) => Object.values(row).map(String)),
  },
  {
    name: inKafka,
    url: kafkaUrl,
    removeDeadMembers: () => leaveForMembers(kafkaUrl ?? ''),
    deadLetters: async () =>
      (await readTopic(kafkaUrl ?? '', `${TOPIC}.${GROUP}.dead`)).map(({ key, headers = {} }) =>
        [key, headers.ce_version, headers.dead_attempts].map(String),
      ),
  },
]

describe.each(logs)('an event that kills whoever handles it, $name,', (events) => {
  describe.skipIf(events.url === undefined)('is', () => {
    beforeAll(() => overrideEnvironment({ EVENTS_URL: events.url }))
    beforeEach(async () => {
      await sql`truncate event_log, event_groups, dead_events, inbox`
      await sql`
        create table effects (
          sequence bigint generated always as identity, event_id uuid not null, product_id uuid not null, version bigint not null)`
    })
    afterEach(() => sql`drop table effects`)
    afterAll(async () => {
      overrideEnvironment({ EVENTS_URL: undefined })
      await closeRelay()
    })

    it.each([
      ['alone', ''],
      ['in batches', '50'],
    ])(
      'dead-lettered alone, after ten recorded attempts, where events come %s: those beside it, before it and behind it are handled',
      async (_, batch) => {
        const poison = randomUUID()
        const dead = (await events.deadLetters()).length
        const others = Array.from({ length: 12 }, () => randomUUID())
        await publishAll(
          [1, 2, 3, 4, 5, 6].flatMap((version) => [
            { productId: poison, version, kills: version === 4 },
            ...others.map((productId) => ({ productId, version })),
          ]),
        )
        const isDone = async () => (await sql`select 1 from effects`).length >= 13 * 6 - 1
        expect(await startUntil(isDone, events, batch)).toBeGreaterThanOrEqual(ATTEMPTS_MAX)
        expect(await effectsOf(poison)).toEqual([1, 2, 3, 5, 6])
        for (const productId of others) expect(await effectsOf(productId)).toEqual([1, 2, 3, 4, 5, 6])
        expect(await events.deadLetters()).toContainEqual([poison, '4', String(ATTEMPTS_MAX)])
        expect((await events.deadLetters()).filter(([id]) => id !== poison)).toHaveLength(dead)
      },
      TIMEOUT_MS,
    )

    it(
      'dead again after ten attempts when it is redriven, and what is redriven with it is handled once',
      async () => {
        const list = async () => (await listDeadEvents({ limit: 50 }, systemContext('function:test'))).items
        const poison = { productId: randomUUID(), version: 4 }
        const { id, eventId } = await deadEvent({ group: GROUP, ...poison })
        await sql`update dead_events set data = ${JSON.stringify({ ...poison, kills: true })}::text::json`
        const others = Array.from({ length: 5 }, () => randomUUID())
        for (const productId of others) await deadEvent({ group: GROUP, productId })
        expect(await redriveDeadEvents({}, systemContext('function:test'))).toBe(6)
        // Simulates the first seven of its attempts.
        await sql`update dead_events set attempts = ${ATTEMPTS_MAX - 3} where id = ${id}`
        const isDone = async () => (await list()).length === 1 && (await sql`select 1 from dead_events`).length === 1
        expect(await startUntil(isDone, events, '')).toBe(3)
        expect(await list()).toMatchObject([{ eventId, ...poison, group: GROUP, attempts: ATTEMPTS_MAX }])
        expect(await effectsOf(poison.productId)).toEqual([])
        for (const productId of others) expect(await effectsOf(productId)).toEqual([1])
      },
      TIMEOUT_MS,
    )
  })
})

/** Sends the request to leave the group for dead members, which can no longer send it. */
async function leaveForMembers(url: string): Promise<void> {
  const { brokers, prefix } = kafkaSettings(url)
  const groupId = `${prefix}${GROUP}`
  const { groups } = await withAdmin(url, (admin) => admin.describeGroups([groupId]))
  const socket = connect(Number(brokers[0]?.split(':')[1]), '127.0.0.1')
  for (const { memberId } of groups[0]?.members ?? []) {
    const text = (value: string) => Buffer.concat([Buffer.from([0, value.length]), Buffer.from(value)])
    // https://kafka.apache.org/protocol#The_Messages_LeaveGroup: key 13, version 0, a correlation id, the client's id.
    const request = Buffer.concat([Buffer.from([0, 13, 0, 0, 0, 0, 0, 1]), text('test'), text(groupId), text(memberId)])
    const size = Buffer.alloc(4)
    size.writeInt32BE(request.length)
    socket.write(Buffer.concat([size, request]))
    await once(socket, 'data')
  }
  socket.destroy()
}
