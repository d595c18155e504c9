import { afterAll, beforeAll, expect, it } from 'vitest'
import { systemContext } from '#database'
import { getStock } from '#stock'
import { ADMIN_KEY, blocked, expectConsistent, inRivalSession, newProduct } from '#testing'
import { type Answer, type Client, createClient } from '../client.ts'
import { type Fleet, startFleet } from '../fleet.ts'

/** More requests than a function allows in flight. */
const REQUESTS = 900
/** One key gets three quarters of the requests in flight. */
const IN_FLIGHT_MAX = 384

let fleet: Fleet
let client: Client

beforeAll(async () => {
  fleet = await startFleet(['reserve-stock', 'get-product'])
  client = createClient(REQUESTS)
})
afterAll(async () => {
  await client.close()
  await fleet.stop()
})

it('writes past what a function can have in flight are refused at once, and the rest goes on beside them', async () => {
  const { id: productId } = await newProduct({ initialStock: REQUESTS })
  const [reserve, read] = [fleet.of('reserve-stock')[0]?.url() ?? '', fleet.of('get-product')[0]?.url() ?? '']
  const refused: Answer[] = []
  const send = async () => {
    const answer = await client.send(reserve, {
      path: '/v1/reservations',
      body: { lines: [{ productId, quantity: 1 }] },
    })
    if (answer?.status === 503) refused.push(answer)
    return answer?.status
  }

  // Opens all connections first: on a busy machine, that takes longer than requests may wait for the row.
  const unfit = { path: '/v1/reservations', body: { lines: [] } }
  await Promise.all(Array.from({ length: REQUESTS }, () => client.send(reserve, unfit)))

  const statuses = await inRivalSession(async (rival) => {
    // Nobody can reserve until this session releases the row.
    await rival`select 1 from stock_levels where product_id = ${productId} for update`
    const answers = Array.from({ length: REQUESTS }, send)
    await blocked()
    // Within the 4 s that the requests in flight wait for their turn.
    await expect.poll(() => refused.length, { timeout: 3_500 }).toBe(REQUESTS - IN_FLIGHT_MAX)

    for (const path of ['/healthz', '/readyz', '/metrics']) expect((await fetch(`${reserve}${path}`)).status).toBe(200)
    const headers = { authorization: `Bearer ${ADMIN_KEY}` }
    expect((await fetch(`${read}/v1/products/${productId}`, { headers })).status).toBe(200)

    await rival`commit`
    return Promise.all(answers)
  })

  expect(new Set(refused.map(({ code }) => code))).toEqual(new Set(['overloaded']))
  expect(statuses.filter((status) => status === 201).length).toBe(IN_FLIGHT_MAX)
  expect(await getStock(productId, systemContext('function:test'))).toMatchObject({ reserved: IN_FLIGHT_MAX })
  await expectConsistent()
})
