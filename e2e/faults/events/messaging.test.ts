import { setTimeout as sleep } from 'node:timers/promises'
import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { ADMIN_KEY, call, newProduct, openReceiver, type Receiver, sql } from '#testing'
import { inKafka, kafkaUrl } from '#testing/kafka'
import { inRabbit, rabbitUrl } from '#testing/rabbit'
import createWebhook from '../../../functions/create-webhook/index.ts'
import { type RunningRabbit, startRabbit } from '../../../infra/local/engines/rabbitmq.ts'
import { readTopic } from '../../../shared/events/testing/kafka.ts'
import { type Fleet, startFleet } from '../fleet.ts'
import { drained, expectAllPublished, type KafkaStack, startKafkaStack } from './kafka-stack.ts'

// From a request to the job that it causes, through both brokers. Every function on the way runs as a bundle in a separate process.

/** Use `OUTAGE_SECONDS=240 npx vitest run e2e/faults/events/messaging.test.ts` to keep the brokers away for minutes. */
const OUTAGE_MS = Number(environment().OUTAGE_SECONDS ?? 10) * 1_000
const PAUSE_MS = 100
/** After a long outage, clients look for a broker at least every five seconds. */
const FAR_MS = 60_000

let kafka: KafkaStack
let rabbit: RunningRabbit
let receiver: Receiver
let fleet: Fleet
let url: string
let secret: string

const until = (check: () => unknown) => vi.waitFor(check, { timeout: FAR_MS, interval: 50 })

async function adjust(productId: string, quantity: number, traceparent: string): Promise<number> {
  const [server] = fleet.of('adjust-stock')
  const response = await fetch(`${server?.url()}/v1/products/${productId}/stock/adjustments`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${ADMIN_KEY}`,
      'content-type': 'application/json',
      traceparent,
      tracestate: 'shop=1',
      baggage: 'channel=web,customer=4711',
    },
    body: JSON.stringify({ quantity, reason: 'correction' }),
  })
  await response.arrayBuffer()
  return response.status
}

const traceOf = (traceparent: unknown) => String(traceparent).split('-')[1]
const spanOf = (traceparent: unknown) => String(traceparent).split('-')[2]
const newTrace = (number: number) => number.toString(16).padStart(32, 'a')

/** Fails unless each of the products was reported as sold out once, by a successful attempt. */
async function expectToldOnce(productIds: string[]): Promise<void> {
  await until(async () => {
    const jobs = await sql<Array<{ subject: string; state: string }>>`
      select payload -> 'event' ->> 'subject' as subject, state from jobs where type = 'deliver-webhook'`
    const told = jobs.filter(({ state }) => state === 'succeeded').map(({ subject }) => subject)
    expect(told.sort()).toEqual([...productIds].sort())
    expect(jobs).toHaveLength(productIds.length)
  })
  const verified = receiver.received.map(({ body, headers }) =>
    new Webhook(secret).verify(body, headers as Record<string, string>),
  )
  expect(new Set(verified.map((event) => (event as { subject: string }).subject))).toEqual(new Set(productIds))
}

describe.skipIf(kafkaUrl === undefined || rabbitUrl === undefined)(
  `with events ${inKafka} and jobs ${inRabbit}`,
  () => {
    beforeAll(async () => {
      kafka = await startKafkaStack()
      url = kafka.newUrl()
      rabbit = await startRabbit()
      receiver = await openReceiver()
      overrideEnvironment({ WEBHOOK_ALLOW_PRIVATE: '1' })
      const { body } = await call(createWebhook, { body: { url: receiver.url, events: ['stock.out'] } })
      secret = body.secret
      const followers = ['detect-low-stock', 'notify-webhooks']
      const settings = { EVENTS_URL: url, JOBS_URL: rabbit.url, WEBHOOK_ALLOW_PRIVATE: '1', BAGGAGE_KEYS: 'channel' }
      fleet = await startFleet(
        ['adjust-stock', 'publish-events', ...followers, 'dispatch-jobs', 'process-job'],
        settings,
      )
    }, 180_000)

    afterEach(async () => {
      await sql`truncate jobs, job_dispatches, outbox cascade`
      receiver.received.length = 0
    })

    afterAll(async () => {
      await fleet?.stop()
      await receiver?.close()
      await rabbit?.stop()
      await kafka?.stop()
      overrideEnvironment({ WEBHOOK_ALLOW_PRIVATE: undefined })
    })

    it('one trace leads from a request to the webhook that it causes, with a span for each step; baggage as far as the job', async () => {
      const { id } = await newProduct({ initialStock: 1 })
      const traceId = newTrace(1)
      const asked = `00-${traceId}-00000000000000aa-01`
      expect(await adjust(id, -1, asked)).toBe(201)
      await expectToldOnce([id])
      const ofProduct = (await readTopic(url, 'stock-events')).filter(({ key }) => String(key) === id)
      const [change, alert] = ['stock.adjusted', 'stock.out'].map(
        (type) => ofProduct.findLast(({ headers }) => String(headers?.ce_type) === type)?.headers,
      )
      const [job] = await sql<
        [{ traceparent: string; tracestate: string; baggage: string }]
      >`select traceparent, tracestate, baggage from jobs`
      const [delivery] = receiver.received
      const steps = [asked, change?.traceparent, alert?.traceparent, job.traceparent, delivery?.headers.traceparent]
      expect(steps.map(traceOf)).toEqual(steps.map(() => traceId))
      expect(new Set(steps.map(spanOf)).size).toBe(steps.length)
      expect([String(change?.tracestate), String(alert?.tracestate), job.tracestate]).toEqual(Array(3).fill('shop=1'))
      expect([String(change?.baggage), String(alert?.baggage), job.baggage]).toEqual(Array(3).fill('channel=web'))
      // No baggage goes to another company, and none is logged.
      expect(delivery?.headers).not.toHaveProperty('baggage')
      for (const { lines } of fleet.members) expect(lines().join('\n')).not.toMatch(/channel=web|4711/)
    })

    it(
      'requests go on while both brokers are away, and the rest follows when they are back, in order and once',
      async () => {
        await Promise.all([kafka.kafka.kill(), rabbit.kill()])
        const products: string[] = []
        const end = Date.now() + OUTAGE_MS
        while (Date.now() < end) {
          const { id } = await newProduct({ initialStock: 1 })
          expect(await adjust(id, -1, `00-${newTrace(2)}-00000000000000aa-01`)).toBe(201)
          products.push(id)
          await sleep(PAUSE_MS)
        }
        expect((await sql`select 1 from outbox`).length).toBeGreaterThanOrEqual(products.length)
        await Promise.all([kafka.kafka.restart(), rabbit.restart()])
        await drained()
        await expectToldOnce(products)
        await drained()
        await expectAllPublished(url, products)
      },
      OUTAGE_MS + 3 * FAR_MS,
    )
  },
)
