import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { createServer, type LookupFunction } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { systemContext } from '#database'
import { renderMetrics } from '#telemetry'
import { openReceiver, type Receiver, sql } from '#testing'
import { deliverWebhook } from './deliver.ts'
import type { PostOptions } from './post.ts'
import { newSecret } from './secret.ts'

const trace = {
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  tracestate: undefined,
  baggage: 'tenant=1',
}
const context = systemContext('function:test', trace)
const event = {
  id: randomUUID(),
  source: '/topics/stock-events',
  type: 'stock.low',
  subject: randomUUID(),
  time: '2026-01-02T03:04:05.678Z',
  data: { sku: 'TEA-Ü', stock: { available: 3 } },
}
const opened: Receiver[] = []

async function receiver(answer?: (response: ServerResponse) => number | undefined): Promise<Receiver> {
  const open = await openReceiver(answer)
  opened.push(open)
  return open
}

async function webhookAt(url: string): Promise<{ id: string; secret: string }> {
  const webhook = { id: randomUUID(), secret: newSecret() }
  await sql`
    insert into webhooks (id, url, events, secret) values (${webhook.id}, ${url}, '{stock.low}', ${webhook.secret})`
  return webhook
}

/** Delivers the event to a webhook with this URL. */
async function deliverTo(url: string, options: Partial<PostOptions> = {}) {
  const { id } = await webhookAt(url)
  return deliverWebhook({ webhookId: id, event }, context, options)
}

const failing = (detail: string) => ({ code: 'bad_gateway', detail: expect.stringContaining(detail) })

async function count(outcome: string): Promise<number> {
  const line = new RegExp(`^webhook_deliveries_total{outcome="${outcome}"} (\\d+)`, 'm').exec(await renderMetrics())
  return Number(line?.[1] ?? 0)
}

/** Expects exactly one more delivery with this outcome once `work` is done. */
async function counting(outcome: string, work: () => Promise<unknown>): Promise<void> {
  const before = await count(outcome)
  await work()
  expect(await count(outcome)).toBe(before + 1)
}

beforeEach(() => overrideEnvironment({ WEBHOOK_ALLOW_PRIVATE: '1' }))

afterEach(async () => {
  overrideEnvironment({ WEBHOOK_ALLOW_PRIVATE: undefined })
  await Promise.all(opened.splice(0).map(({ close }) => close()))
})

describe('a delivery', () => {
  it('is a CloudEvent that the receiver can verify, in the trace of what caused it', async () => {
    const { url, received } = await receiver()
    const { id, secret } = await webhookAt(url)
    await counting('delivered', async () =>
      expect(await deliverWebhook({ webhookId: id, event }, context)).toEqual({ delivered: true, status: 204 }),
    )
    const [request] = received
    expect(request).toMatchObject({
      method: 'POST',
      headers: {
        'content-type': 'application/cloudevents+json',
        'webhook-id': `msg_${event.id}_${id}`,
        traceparent: trace.traceparent,
      },
    })
    const told = new Webhook(secret).verify(request?.body ?? '', request?.headers as Record<string, string>)
    expect(told).toEqual({ specversion: '1.0', datacontenttype: 'application/json', ...event })
    expect(JSON.stringify(request)).not.toContain(secret)
    expect(request?.headers).not.toHaveProperty('baggage')
  })

  it('has one id for all attempts of an event, and another for another webhook or event', async () => {
    const { url, received } = await receiver()
    const [one, two] = [await webhookAt(url), await webhookAt(url)]
    for (const webhookId of [one.id, one.id, two.id]) await deliverWebhook({ webhookId, event }, context)
    await deliverWebhook({ webhookId: one.id, event: { ...event, id: randomUUID() } }, context)
    const ids = received.map(({ headers }) => headers['webhook-id'])
    expect(ids[1]).toBe(ids[0])
    expect(new Set(ids).size).toBe(3)
  })

  it('is none for a webhook that is deleted, which is no failure', async () => {
    await counting('webhook_deleted', async () =>
      expect(await deliverWebhook({ webhookId: randomUUID(), event }, context)).toEqual({
        delivered: false,
        reason: 'webhook_deleted',
      }),
    )
  })

  it.each([400, 401, 404, 408, 425, 429, 500, 503])('that is answered %d is to be tried again', async (status) => {
    const { url } = await receiver(() => status)
    await counting('refused', () =>
      expect(deliverTo(url)).rejects.toMatchObject(failing(`The receiver answered ${status}.`)),
    )
  })

  it('that is answered 410 is not, and is the last: the webhook is disabled', async () => {
    const { url, received } = await receiver(() => 410)
    const { id: webhookId } = await webhookAt(url)
    const deliver = () => deliverWebhook({ webhookId, event }, context)
    await counting('gone', () => expect(deliver()).rejects.toMatchObject({ code: 'webhook_gone', status: 410 }))
    const [shown] = await sql`select enabled, disabled_reason from webhooks where id = ${webhookId}`
    expect(shown).toEqual({ enabled: false, disabled_reason: 'gone' })
    await counting('webhook_disabled', async () =>
      expect(await deliver()).toEqual({ delivered: false, reason: 'webhook_disabled' }),
    )
    expect(received).toHaveLength(1)
  })

  it.each([
    ['leads to since', () => sql`url = 'https://shop.example/'`],
    ['was enabled for again since', () => sql`enabled_at = clock_timestamp()`],
  ])('that is answered 410 says nothing of what the webhook %s', async (_, changed) => {
    const change = async () => {
      await sql`update webhooks set ${changed()} where id = ${webhookId}`
    }
    const { url } = await receiver((response) => {
      void change().then(() => response.writeHead(410).end())
      return undefined
    })
    const { id: webhookId } = await webhookAt(url)
    await expect(deliverWebhook({ webhookId, event }, context)).rejects.toMatchObject({ code: 'webhook_gone' })
    expect(await sql`select enabled from webhooks where id = ${webhookId}`).toEqual([{ enabled: true }])
  })

  it.each([301, 302, 303, 307, 308])('that is answered %d fails, and goes nowhere else', async (status) => {
    const elsewhere = await receiver()
    const { url, received } = await receiver((response) => {
      response.setHeader('location', elsewhere.url)
      return status
    })
    await expect(deliverTo(url)).rejects.toMatchObject(failing(`answered ${status}`))
    expect([received.length, elsewhere.received.length]).toEqual([1, 0])
  })

  it('fails when there is no answer in time', async () => {
    const { url } = await receiver(() => undefined)
    await counting('timed_out', () =>
      expect(deliverTo(url, { timeoutMs: 100 })).rejects.toMatchObject(failing('no answer within 0.1 s')),
    )
  })

  it('fails when the answer’s head comes too slowly to end in time', async () => {
    const dripping = createServer((socket) => {
      socket.on('error', () => {})
      socket.write('HTTP/1.1 200 OK\r\n')
      const timer = setInterval(() => socket.write('a'), 10)
      socket.on('close', () => clearInterval(timer))
    })
    await new Promise<void>((resolve) => dripping.listen(0, '127.0.0.1', resolve))
    const { port } = dripping.address() as { port: number }
    const sent = deliverTo(`http://127.0.0.1:${port}/`, { timeoutMs: 200 })
    await expect(sent).rejects.toMatchObject(failing('no answer'))
    await new Promise((resolve) => dripping.close(resolve))
  })

  it('fails when the name is not resolved in time', async () => {
    const lookup: LookupFunction = () => {}
    const sent = deliverTo('http://slow.example/', { lookup, timeoutMs: 100 })
    await expect(sent).rejects.toMatchObject(failing('no answer'))
  })

  it('fails when nobody listens, and when the connection breaks', async () => {
    const { url, close } = await receiver()
    const { id } = await webhookAt(url)
    await close()
    opened.pop()
    await counting('unreachable', () =>
      expect(deliverWebhook({ webhookId: id, event }, context)).rejects.toMatchObject(failing('ECONNREFUSED')),
    )
    const breaking = await receiver((response) => {
      response.destroy()
      return undefined
    })
    await expect(deliverTo(breaking.url)).rejects.toMatchObject(failing('ECONNRESET'))
  })

  it('fails where https is asked for and not spoken', async () => {
    const { port, received } = await receiver()
    await expect(deliverTo(`https://127.0.0.1:${port}/`)).rejects.toMatchObject(failing('could not be reached'))
    expect(received).toEqual([])
  })

  it('has succeeded by its status, and takes neither all of a huge answer nor all the time of a slow one', async () => {
    let closed: (() => void) | undefined
    const isClosed = () =>
      new Promise<void>((resolve) => {
        closed = resolve
      })
    const huge = await receiver((response) => {
      response.on('close', () => closed?.())
      response.writeHead(200)
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(64 * 1024))) {}
      }
      response.on('drain', more)
      more()
      return undefined
    })
    const slow = await receiver((response) => {
      response.on('close', () => closed?.())
      response.writeHead(200).write('x')
      return undefined
    })
    for (const { url } of [huge, slow]) {
      const ended = isClosed()
      expect(await deliverTo(url, { timeoutMs: 120_000 })).toEqual({ delivered: true, status: 200 })
      await ended
    }
  })

  it('is not held up by another that gets no answer', async () => {
    const silent = await receiver(() => undefined)
    const { url } = await receiver()
    const waiting = deliverTo(silent.url, { timeoutMs: 500 }).catch((error) => error.code)
    expect(await deliverTo(url)).toMatchObject({ delivered: true })
    expect(await waiting).toBe('bad_gateway')
  })
})

describe('a receiver that does not answer', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it('gets one request each half a minute after three without an answer, until it answers', async () => {
    let status: number | undefined
    const { url, received } = await receiver(() => status)
    const { id: webhookId } = await webhookAt(url)
    const deliver = () => deliverWebhook({ webhookId, event }, context, { timeoutMs: 50 }).catch(({ detail }) => detail)
    const paused = expect.stringContaining('asked again in a while')
    const silent = expect.stringContaining('no answer')
    let now = performance.now()
    vi.spyOn(performance, 'now').mockImplementation(() => now)
    for (let request = 0; request < 3; request++) expect(await deliver()).toEqual(silent)
    await counting('circuit_open', async () => expect(await deliver()).toEqual(paused))
    expect(received).toHaveLength(3)

    now += 30_000
    const answers = await Promise.all([deliver(), deliver(), deliver()])
    expect(answers).toEqual(expect.arrayContaining([silent, paused, paused]))
    expect(received).toHaveLength(4)
    expect(await deliver()).toEqual(paused)

    const moved = await receiver()
    await sql`update webhooks set url = ${moved.url} where id = ${webhookId}`
    expect(await deliver()).toEqual({ delivered: true, status: 204 })
    await sql`update webhooks set url = ${url} where id = ${webhookId}`

    status = 204
    now += 30_000
    for (let request = 0; request < 3; request++) expect(await deliver()).toEqual({ delivered: true, status: 204 })
  })

  it('does not hold up another, nor is one that answers, with an error even, or breaks off, left in peace', async () => {
    const [failing500, silent] = [await receiver(() => 500), await receiver(() => undefined)]
    const breaking = await receiver((response) => {
      response.destroy()
      return undefined
    })
    const timeoutMs = 50
    const [one, two, three] = await Promise.all([silent, failing500, breaking].map(({ url }) => webhookAt(url)))
    for (let request = 0; request < 5; request++) {
      for (const webhook of [one, two, three]) {
        const sent = deliverWebhook({ webhookId: webhook?.id ?? '', event }, context, { timeoutMs })
        await expect(sent).rejects.toMatchObject({ code: 'bad_gateway' })
      }
    }
    expect([silent, failing500, breaking].map(({ received }) => received.length)).toEqual([3, 5, 5])
  })
})

describe('a private address', () => {
  /** Resolves every name to these addresses, using the next list each time, and records the names that were asked for. */
  function resolving(...answers: string[][]) {
    const asked: string[] = []
    const lookup: LookupFunction = (hostname, { all }, callback) => {
      asked.push(hostname)
      const found = (answers[Math.min(asked.length, answers.length) - 1] ?? []).map((address) => ({
        address,
        family: address.includes(':') ? 6 : 4,
      }))
      if (all) callback(null, found)
      else callback(null, found[0]?.address ?? '', found[0]?.family)
    }
    return { lookup, asked }
  }

  beforeEach(() => overrideEnvironment({ WEBHOOK_ALLOW_PRIVATE: '0' }))

  it.each(['http://127.0.0.1', 'http://[::1]', 'http://[::ffff:127.0.0.1]', 'http://2130706433', 'http://localhost'])(
    'is not connected to where the URL names it: %s',
    async (origin) => {
      const { received, port } = await receiver()
      await counting('private_address', () =>
        expect(deliverTo(`${origin}:${port}/`)).rejects.toMatchObject(failing('The address is private.')),
      )
      expect(received).toEqual([])
    },
  )

  it.each([[['127.0.0.1']], [['8.8.8.8', '127.0.0.1']], [['::ffff:127.0.0.1']], [['10.0.0.1']], [['::1', '2a00::1']]])(
    'is not connected to where the name leads there: %j',
    async (addresses) => {
      const { received, port } = await receiver()
      const { lookup } = resolving(addresses)
      await counting('private_address', () =>
        expect(deliverTo(`http://rebound.example:${port}/`, { lookup })).rejects.toMatchObject(failing('private')),
      )
      expect(received).toEqual([])
    },
  )

  // The checked address is the one that is connected to: a name that leads to another address the next time gains nothing.
  it('is not connected to by TLS either, by address or by name', async () => {
    const { received, port } = await receiver()
    const { lookup } = resolving(['127.0.0.1'])
    for (const host of ['127.0.0.1', 'rebound.example']) {
      const sent = deliverTo(`https://${host}:${port}/`, { lookup })
      await expect(sent).rejects.toMatchObject(failing('The address is private.'))
    }
    expect(received).toEqual([])
  })

  it('is connected to where that is allowed, by a name that is resolved once, and to what it led to then', async () => {
    const { received, port } = await receiver()
    const { lookup, asked } = resolving(['127.0.0.1'], ['203.0.113.1'])
    const sent = deliverTo(`http://rebound.example:${port}/`, { lookup, allowsPrivate: true })
    expect(await sent).toMatchObject({ delivered: true })
    expect([asked, received[0]?.headers.host]).toEqual([['rebound.example'], `rebound.example:${port}`])
  })
})
