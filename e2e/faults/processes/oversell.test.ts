import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemContext } from '#database'
import { getStock } from '#stock'
import type { CountResult, Movement, Reservation } from '#stock/schema'
import { expectConsistent, newProduct, sql } from '#testing'
import { type Answer, type Client, createClient, type Write } from '../client.ts'
import { type Fleet, startFleet } from '../fleet.ts'

// All clients want the same product, and send requests to four processes that share only the database. The sold pieces
// are then counted twice: from the answers that the clients got, and from the database.

const PROCESSES = 4
const CONNECTIONS_PER_PROCESS = 16
const WORKERS = PROCESSES * CONNECTIONS_PER_PROCESS
const STOCK = 1_500
/** The number of orders. The ninth and tenth of every ten are sent twice: some 4,000 requests in all. */
const ORDERS = 3_300
/** More than the stock that is left when the last hold has been released. */
const LATE_ORDERS = 400
const TWINS_MAX = 40

let fleet: Fleet
let client: Client

beforeAll(async () => {
  const others = ['confirm-reservation', 'release-reservation', 'adjust-stock', 'count-stock']
  fleet = await startFleet([...Array<string>(PROCESSES).fill('reserve-stock'), ...others])
  client = createClient(CONNECTIONS_PER_PROCESS)
}, 120_000)

afterAll(async () => {
  await client.close()
  await fleet.stop()
})

interface Order {
  write: Write
  /** How many times the order is sent, at the same time and each time to another process. */
  twins: number
}

/** The counts from the answers: units of the hot product, and how often each answer was given. */
interface Tally {
  accepted: number
  givenBack: number
  added: number
  answers: Record<string, number>
  /** The actions of the other requests, with their outcomes. */
  trades: Set<string>
  keyed: Array<{ key: string; answers: Answer[] }>
}

/** Makes orders of one unit of the hot product, alone or with other products in three different orders. Each order has its own reference. */
function ordersOf(prefix: string, count: number, hot: string, others: string[]): Order[] {
  return Array.from({ length: count }, (_, index) => {
    const key = `${prefix}-${index}`
    const [first = hot, second = hot] = index % 2 ? others : [...others].reverse()
    const products =
      [[hot], [hot, first, second], [first, hot], [second, first, hot]][index % 8 > 4 ? index % 4 : 0] ?? []
    const lines = products.map((productId) => ({ productId, quantity: 1 }))
    const write = { path: '/v1/reservations', body: { lines, reference: key } }
    return index % 10 < 8 ? { write, twins: 1 } : { write: { ...write, key }, twins: 2 }
  })
}

/** Sends the orders over all connections at once. Calls `afterwards` for each accepted order. */
async function serve(
  orders: Order[],
  tally: Tally,
  afterwards: (reservation: Reservation) => Promise<unknown>,
): Promise<void> {
  const processes = fleet.of('reserve-stock')
  const queue = [...orders]
  const work = async (worker: number) => {
    for (let order = queue.shift(); order; order = queue.shift()) {
      const { write, twins } = order
      const ask = async (twin: number) => {
        const url = () => processes[(worker + twin) % PROCESSES]?.url() ?? ''
        const first = await client.send(url(), write)
        const name = first ? `${first.status} ${first.code ?? ''}`.trim() : 'none'
        tally.answers[name] = 1 + (tally.answers[name] ?? 0)
        // On a machine that is busy with other work, a request may wait for too long. Then the client tries again.
        const isToRepeat = first?.status === 503 || first?.code === 'request_in_progress'
        return isToRepeat ? client.sendUntilAnswered(url, write) : first
      }
      const answers = (await Promise.all(Array.from({ length: twins }, (_, twin) => ask(twin)))).filter(
        (each) => !!each,
      )
      if (write.key) tally.keyed.push({ key: write.key, answers })
      const [answer] = answers
      if (answer?.status !== 201) continue
      tally.accepted++
      await afterwards(JSON.parse(answer.text) as Reservation)
    }
  }
  await Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)))
}

/** Makes the other activity: holds are confirmed and released, goods arrive and leave, and stock is counted. */
function createTrade(hot: string, other: string, tally: Tally) {
  const post = async (name: string, path: string, body: object) => {
    const answer = await client.sendUntilAnswered(() => fleet.of(name)[0]?.url() ?? '', { path, body })
    tally.trades.add(`${name} ${answer.status}`)
    return answer
  }
  let turns = 0
  return async ({ id }: Reservation) => {
    const turn = ++turns
    if (turn % 5 === 0) {
      const { status } = await post('confirm-reservation', `/v1/reservations/${id}/confirm`, {})
      expect(status).toBe(200)
    } else if (turn % 7 === 0) {
      const { status } = await post('release-reservation', `/v1/reservations/${id}/release`, {})
      expect(status).toBe(200)
      tally.givenBack++
    }
    if (turn % 20 === 0) {
      const body = { quantity: turn % 40 ? 1 : -1, reason: 'correction' }
      const { status, code, text } = await post('adjust-stock', `/v1/products/${hot}/stock/adjustments`, body)
      if (status === 201) tally.added += (JSON.parse(text) as Movement).onHandDelta
      else expect([status, code, body.quantity]).toEqual([409, 'insufficient_stock', -1])
    }
    if (turn % 150 === 0) {
      const [level] = await sql<[{ counted: number }]>`
        select on_hand as counted from stock_levels where product_id = ${hot}`
      // If some of this was sold after the count, that becomes a variance: the service trusts a count.
      const counts = [hot, other].map((productId) => ({ productId, counted: level.counted }))
      const { status, code, text } = await post('count-stock', '/v1/stock/counts', { counts })
      if (status === 200) tally.added += (JSON.parse(text) as CountResult).counts[0]?.variance ?? 0
      else expect([status, code]).toEqual([409, 'count_below_reserved'])
    }
  }
}

async function deadlocks(): Promise<number> {
  const texts = await Promise.all(fleet.members.map((member) => member.metrics()))
  const counts = texts.map((text) =>
    /database_transaction_retries_total\{reason="deadlock_detected"\} (\d+)/.exec(text),
  )
  return counts.reduce((sum, count) => sum + Number(count?.[1] ?? 0), 0)
}

/** Checks that each key has one answer, that the first is not a replay, and that there is one reservation or none. */
async function expectOneEffectPerKey({ keyed }: Tally): Promise<void> {
  const rows = await sql<Array<{ reference: string; id: string }>>`
    select reference, id from reservations where reference = any(${keyed.map(({ key }) => key)}::text[])`
  for (const { key, answers } of keyed) {
    const [answer] = answers
    expect(new Set(answers.map(({ status, text, location }) => `${status} ${location} ${text}`)).size, key).toBe(1)
    expect(answers.filter(({ isReplay }) => !isReplay).length, key).toBe(1)
    const { id } = JSON.parse(answer?.text ?? '') as { id?: string }
    const made = rows.filter(({ reference }) => reference === key).map((row) => row.id)
    expect(made, key).toEqual(answer?.status === 201 ? [id] : [])
  }
}

describe('four processes that sell the same stock', () => {
  it('sell exactly what there is, once a key, whatever else goes on', async () => {
    const { id: hot } = await newProduct({ initialStock: STOCK })
    const others = [await newProduct({ initialStock: 100_000 }), await newProduct({ initialStock: 100_000 })]
    const [other = '', another = ''] = others.map(({ id }) => id)
    const { id: uncounted } = await newProduct({ initialStock: 5 })
    const tally: Tally = { accepted: 0, givenBack: 0, added: 0, answers: {}, trades: new Set(), keyed: [] }
    const crowd: Order = {
      write: { ...ordersOf('crowd', 1, hot, [])[0]?.write, key: 'crowd-0' } as Write,
      twins: TWINS_MAX,
    }
    const orders = ordersOf('early', ORDERS, hot, [other, another])
    await serve([crowd, ...orders], tally, createTrade(hot, uncounted, tally))
    // No hold is released any more, so the remaining stock is sold to the last unit.
    await serve(ordersOf('late', LATE_ORDERS, hot, [other, another]), tally, async () => {})

    const { accepted, givenBack, added, answers, trades } = tally
    const decided = Object.keys(answers).filter((answer) => !answer.startsWith('503'))
    expect(decided.sort()).toEqual(['201', '409 insufficient_stock', '409 request_in_progress'])
    expect(accepted - givenBack).toBe(STOCK + added)
    expect(await getStock(hot, systemContext('function:test'))).toMatchObject({ available: 0 })
    const done = ['adjust-stock 201', 'confirm-reservation 200', 'count-stock 200', 'release-reservation 200']
    expect([...trades]).toEqual(expect.arrayContaining(done))
    const [rows] = await sql<[{ count: number }]>`select count(*) from reservations`
    expect(rows.count).toBe(accepted)
    await expectOneEffectPerKey(tally)
    await expectConsistent()
    expect(await deadlocks()).toBe(0)
  }, 60_000)
})
