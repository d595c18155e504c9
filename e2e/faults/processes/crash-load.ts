import fc from 'fast-check'
import type { Reservation } from '#stock/schema'
import type { Answer, Client, Write } from '../client.ts'
import type { Fleet } from '../fleet.ts'

type Step =
  | { kind: 'reserve'; products: number[]; quantity: number }
  | { kind: 'confirm' | 'release' }
  | { kind: 'adjust'; product: number; quantity: number }

/** The plan of a cycle. All of it follows from the seed, except for the order in which the machine executes it. */
export interface Plan {
  /** The steps of each client, taken one after the other. */
  clients: Step[][]
  blows: Blow[]
}

interface Blow {
  /** The fault happens after this many answers, and a pause. */
  answersBefore: number
  pauseMs: number
  /** Which of several candidates is hit. */
  which: number
}

export const PRODUCTS = [0, 1, 2]
const CLIENTS = 12
/** Some 150 requests with 12 clients: when the last fault happens, a good part of them must still be to come. */
const STEPS = 14
const BLOWS = 2
const ANSWERS_BEFORE_MAX = 100

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('reserve' as const),
      products: fc.shuffledSubarray(PRODUCTS, { minLength: 1 }),
      quantity: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('confirm' as const, 'release' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('adjust' as const),
      product: fc.constantFrom(...PRODUCTS),
      quantity: fc.integer({ min: -4, max: 8 }).filter((quantity) => quantity !== 0),
    }),
  },
)

const plan: fc.Arbitrary<Plan> = fc.record({
  clients: fc.array(fc.array(step, { minLength: STEPS, maxLength: STEPS, size: 'max' }), {
    minLength: CLIENTS,
    maxLength: CLIENTS,
    size: 'max',
  }),
  blows: fc
    .uniqueArray(fc.integer({ min: 5, max: ANSWERS_BEFORE_MAX }), { minLength: BLOWS, maxLength: BLOWS })
    .chain((moments) =>
      fc.tuple(
        ...moments
          .sort((a, b) => a - b)
          .map((answersBefore) =>
            fc.record({
              answersBefore: fc.constant(answersBefore),
              pauseMs: fc.integer({ min: 0, max: 9 }),
              which: fc.nat(),
            }),
          ),
      ),
    ),
})

export function planOf(seed: number): Plan {
  const [drawn] = fc.sample(plan, { seed, numRuns: 1 })
  if (!drawn) throw new Error('fast-check drew nothing')
  return drawn
}

/** A request with its answer. Its key is also its reference, so that its effects can be found. */
export interface Answered {
  kind: Step['kind']
  functionName: string
  write: Write & { key: string }
  answer: Answer
}

export interface Played {
  answered: Answered[]
  /** The number of requests that had to be sent again, because no answer came or the answer said to try again. */
  disturbed: number
}

/** Runs all clients of a plan at once, each until every one of its requests has an answer. */
export async function play(
  { clients }: Plan,
  { fleet, client, productIds, prefix }: { fleet: Fleet; client: Client; productIds: string[]; prefix: string },
  onAnswer: () => void,
): Promise<Played> {
  const played: Played = { answered: [], disturbed: 0 }
  let turns = 0

  async function ask({ kind }: Step, functionName: string, write: Answered['write']): Promise<Answer> {
    const members = fleet.of(functionName)
    // Uses another process each time if there are several: it must not matter which.
    const url = () => members[turns++ % members.length]?.url() ?? ''
    const first = await client.send(url(), write)
    if (!first || first.status === 503) played.disturbed++
    const answer = first && first.status < 500 ? first : await client.sendUntilAnswered(url, write)
    played.answered.push({ kind, functionName, write, answer })
    onAnswer()
    return answer
  }

  async function run(steps: Step[], name: string): Promise<void> {
    const held: string[] = []
    for (const [index, next] of steps.entries()) {
      const key = `${name}-${index}`
      if (next.kind === 'reserve') {
        const lines = next.products.map((product) => ({ productId: productIds[product], quantity: next.quantity }))
        const write = { path: '/v1/reservations', body: { lines, reference: key }, key }
        const { status, text } = await ask(next, 'reserve-stock', write)
        if (status === 201) held.push((JSON.parse(text) as Reservation).id)
      } else if (next.kind === 'adjust') {
        const path = `/v1/products/${productIds[next.product]}/stock/adjustments`
        const body = { quantity: next.quantity, reason: 'correction', reference: key }
        await ask(next, 'adjust-stock', { path, body, key })
      } else {
        const id = held.shift()
        if (id === undefined) continue
        await ask(next, `${next.kind}-reservation`, { path: `/v1/reservations/${id}/${next.kind}`, body: {}, key })
      }
    }
  }

  await Promise.all(clients.map((steps, index) => run(steps, `${prefix}-${index}`)))
  return played
}
