import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { systemContext } from '#database'
import { adjustStock, confirm, extend, getReservation, getStock, release, sweepReservations } from '#stock'
import type { ReservationState } from '#stock/schema'
import { expectConsistent, expire, hold, newProduct, stockAt } from '#testing'

// Random histories, applied to the service and to the plain model below, which knows the rules but no SQL. After every step, both must have given
// the same answer and be in the same state. A failure prints its seed and the shortest history.

const context = () => systemContext('function:test')
const LOCATIONS = ['front', 'main', 'back'] as const
type Location = (typeof LOCATIONS)[number]
const PRODUCTS = [0, 1] as const

interface Line {
  product: number
  quantity: number
  location?: Location | undefined
}

type Step =
  | { kind: 'adjust'; product: number; location: Location; quantity: number }
  | { kind: 'reserve'; lines: Line[]; cart: string | undefined }
  | { kind: 'confirm'; which: number; share: 'all' | 'half' | 'too much' }
  | { kind: 'release' | 'extend' | 'expire'; which: number }
  | { kind: 'sweep' }

const product = fc.constantFrom(...PRODUCTS)
const location = fc.constantFrom(...LOCATIONS)
const which = fc.nat({ max: 20 })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('adjust' as const),
      product,
      location,
      quantity: fc.integer({ min: -6, max: 10 }).filter((quantity) => quantity !== 0),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('reserve' as const),
      lines: fc.array(
        fc.record({
          product,
          quantity: fc.integer({ min: 1, max: 5 }),
          location: fc.option(location, { nil: undefined, freq: 2 }),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      cart: fc.option(fc.constantFrom('one', 'two'), { nil: undefined, freq: 2 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('confirm' as const),
      which,
      share: fc.constantFrom('all' as const, 'half' as const, 'too much' as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom('release' as const, 'extend' as const, 'expire' as const), which }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('sweep' as const) }) },
)

interface ModelReservation {
  state: ReservationState
  lines: Array<Required<Line> & { location: Location; confirmed: number }>
  cart: string | undefined
}

/** The rules of the service, in memory. Every method returns `ok` or the code of the refusal. */
function createModel() {
  const onHand = PRODUCTS.map(() => ({ front: 0, main: 0, back: 0 }))
  const reservations: ModelReservation[] = []
  const held = (product: number, location: Location) =>
    reservations
      .filter(({ state }) => state === 'held')
      .flatMap(({ lines }) => lines)
      .filter((line) => line.product === product && line.location === location)
      .reduce((sum, { quantity }) => sum + quantity, 0)
  const stockOf = (product: number) => onHand[product] as Record<Location, number>
  const free = (product: number, location: Location) => stockOf(product)[location] - held(product, location)

  /** Lines of one product and location are summed; those with a location are served first. Undefined if any line is short. */
  function allocate(lines: Line[]): ModelReservation['lines'] | undefined {
    const demands: Line[] = []
    for (const line of [...lines].sort((a, b) => Number(!a.location) - Number(!b.location))) {
      const same = demands.find((demand) => demand.product === line.product && demand.location === line.location)
      if (same) same.quantity += line.quantity
      else demands.push({ ...line })
    }
    const served: ModelReservation['lines'] = []
    const taken = (product: number, location: Location) =>
      served
        .filter((line) => line.product === product && line.location === location)
        .reduce((sum, { quantity }) => sum + quantity, 0)
    for (const { product, quantity, location: wanted } of demands) {
      const source = (wanted ? [wanted] : LOCATIONS).find(
        (candidate) => free(product, candidate) - taken(product, candidate) >= quantity,
      )
      if (!source) return undefined
      served.push({ product, quantity, location: source, confirmed: 0 })
    }
    return served
  }

  return {
    reservations,
    balances: () =>
      PRODUCTS.flatMap((product) =>
        LOCATIONS.map((location) => [product, location, stockOf(product)[location], held(product, location)].join(' ')),
      ),
    adjust({ product, location, quantity }: { product: number; location: Location; quantity: number }) {
      if (free(product, location) + quantity < 0) return 'insufficient_stock'
      stockOf(product)[location] += quantity
      return 'ok'
    },
    reserve({ lines, cart }: { lines: Line[]; cart: string | undefined }) {
      const replaced = reservations.find((other) => cart && other.cart === cart && other.state === 'held')
      if (replaced) replaced.state = 'released'
      const served = allocate(lines)
      if (!served) {
        if (replaced) replaced.state = 'held'
        return 'insufficient_stock'
      }
      reservations.push({ state: 'held', lines: served, cart })
      return 'ok'
    },
    confirm(index: number, asked: Map<number, number> | undefined) {
      const reservation = reservations[index]
      if (!reservation) return 'reservation_not_found'
      if (reservation.state === 'confirmed') return 'ok'
      if (reservation.state === 'expired') return 'reservation_expired'
      if (reservation.state === 'released') return 'not_held'
      const left = new Map(asked)
      const confirmed = reservation.lines.map(({ product, quantity }) => {
        if (!asked) return quantity
        const part = Math.min(quantity, left.get(product) ?? 0)
        left.set(product, (left.get(product) ?? 0) - part)
        return part
      })
      if ([...left.values()].some((quantity) => quantity > 0)) return 'validation_failed'
      reservation.lines.forEach((line, number) => {
        line.confirmed = confirmed[number] ?? 0
        stockOf(line.product)[line.location] -= line.confirmed
      })
      reservation.state = 'confirmed'
      return 'ok'
    },
    release(index: number) {
      const reservation = reservations[index]
      if (!reservation) return 'reservation_not_found'
      if (reservation.state === 'held') reservation.state = 'released'
      return reservation.state === 'released' ? 'ok' : 'not_held'
    },
    extend(index: number) {
      const reservation = reservations[index]
      if (!reservation) return 'reservation_not_found'
      return reservation.state === 'held' ? 'ok' : 'not_held'
    },
    expire(index: number) {
      const reservation = reservations[index]
      if (reservation?.state === 'held') reservation.state = 'expired'
      return 'ok'
    },
  }
}

type Model = ReturnType<typeof createModel>

/** The service with the model's interface: products and reservations by number. */
async function createSystem() {
  const products = [await newProduct(), await newProduct()]
  const idOf = (index: number) => products[index]?.id ?? ''
  const run = crypto.randomUUID()
  const reservationIds: string[] = []
  const codeOf = (work: Promise<unknown>) => work.then(() => 'ok').catch((error) => error.code ?? String(error))
  return {
    reservation: (index: number) => reservationIds[index] ?? crypto.randomUUID(),
    async balances() {
      const stocks = await Promise.all(products.map(({ id }) => getStock(id, context())))
      return stocks.flatMap(({ locations }, index) =>
        LOCATIONS.map((name) => {
          const level = locations.find((candidate) => candidate.location === name)
          return [index, name, level?.onHand ?? 0, level?.reserved ?? 0].join(' ')
        }),
      )
    },
    async reservations() {
      const all = await Promise.all(reservationIds.map((id) => getReservation(id, context())))
      return all.map(({ state, lines }) => ({
        state,
        lines: lines
          .map((line) =>
            [
              products.findIndex(({ id }) => id === line.productId),
              line.location,
              line.quantity,
              line.confirmedQuantity,
            ].join(' '),
          )
          .sort(),
      }))
    },
    adjust: ({ product, location, quantity }: { product: number; location: Location; quantity: number }) =>
      codeOf(adjustStock(idOf(product), { quantity, reason: 'correction', location }, context())),
    reserve({ lines, cart }: { lines: Line[]; cart: string | undefined }) {
      const requested = lines.map(({ product, quantity, location: at }) => ({
        productId: idOf(product),
        quantity,
        ...(at && { location: at }),
      }))
      const made = hold(requested, cart === undefined ? {} : { holder: run, reference: cart })
      return codeOf(made.then(({ id }) => reservationIds.push(id)))
    },
    confirm(id: string, asked: Map<number, number> | undefined) {
      const lines = asked && [...asked].map(([product, quantity]) => ({ productId: idOf(product), quantity }))
      return codeOf(confirm(id, lines ? { lines } : {}, context()))
    },
    release: (id: string) => codeOf(release(id, context())),
    extend: (id: string) => codeOf(extend(id, { ttlSeconds: 600 }, context())),
    expire: (id: string) => codeOf(expire(id)),
    sweep: () => codeOf(sweepReservations(context())),
  }
}

type System = Awaited<ReturnType<typeof createSystem>>

/** Applies a step to both, and returns both answers. */
async function play(model: Model, system: System, step: Step): Promise<[expected: string, actual: string]> {
  switch (step.kind) {
    case 'adjust':
      return [model.adjust(step), await system.adjust(step)]
    case 'reserve':
      return [model.reserve(step), await system.reserve(step)]
    case 'sweep':
      return ['ok', await system.sweep()]
  }
  // The index after the last one stands for a reservation that never existed.
  const index = step.which % (model.reservations.length + 1)
  const id = system.reservation(index)
  switch (step.kind) {
    case 'confirm': {
      const asked = shareOf(model.reservations[index], step.share)
      return [model.confirm(index, asked), await system.confirm(id, asked)]
    }
    default:
      return [model[step.kind](index), await system[step.kind](id)]
  }
}

/** How much of each product a confirmation asks for; undefined for all. */
function shareOf(reservation: ModelReservation | undefined, share: 'all' | 'half' | 'too much') {
  if (share === 'all' || !reservation) return undefined
  const asked = new Map<number, number>()
  for (const { product, quantity } of reservation.lines) asked.set(product, quantity + (asked.get(product) ?? 0))
  for (const [product, quantity] of asked) asked.set(product, share === 'half' ? Math.ceil(quantity / 2) : quantity + 1)
  return asked
}

afterAll(expectConsistent)

it('the service answers and stands as its rules say, whatever happens to it in whatever order', async () => {
  const { id } = await newProduct()
  await stockAt(id, 'front', 0, -10)
  await stockAt(id, 'back', 0, 10)
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (history) => {
      const [model, system] = [createModel(), await createSystem()]
      for (const next of history) {
        const [expected, actual] = await play(model, system, next)
        expect(actual).toBe(expected)
        expect(await system.balances()).toEqual(model.balances())
      }
      const stands = model.reservations.map(({ state, lines }) => ({
        state,
        lines: lines
          .map(({ product, location, quantity, confirmed }) => [product, location, quantity, confirmed].join(' '))
          .sort(),
      }))
      expect(await system.reservations()).toEqual(stands)
    }),
    { numRuns: 150 },
  )
}, 120_000)
