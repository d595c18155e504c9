import type { ReservationState } from '../schema.ts'
import { type Line, LOCATIONS, STOCK_AT } from './history.ts'

interface Hold {
  state: ReservationState
  lines: Array<Required<Line>>
  cart: string | undefined
}

/** Everything that the service knows about the products, at one moment. */
export interface State {
  /** By product and location. */
  onHand: ReadonlyMap<string, number>
  holds: ReadonlyMap<string, Hold>
}

const placeOf = ({ productId, location }: Line) => `${productId} ${location}`

export function firstState(productIds: string[]): State {
  const places = productIds.flatMap((productId) =>
    LOCATIONS.map((location) => [placeOf({ productId, location, quantity: 0 }), STOCK_AT[location]] as const),
  )
  return { onHand: new Map(places), holds: new Map() }
}

export function receive({ onHand, holds }: State, line: Line): State {
  const place = placeOf(line)
  return { onHand: new Map(onHand).set(place, (onHand.get(place) ?? 0) + line.quantity), holds }
}

export function hold(state: State, id: string, held: Omit<Hold, 'state'>): State {
  return { ...state, holds: new Map(state.holds).set(id, { ...held, state: 'held' }) }
}

/** Ends a hold; a confirmed one takes its goods with it. */
export function end(state: State, id: string, how: ReservationState): State {
  const held = state.holds.get(id)
  if (!held) return state
  const taken = how === 'confirmed' ? held.lines : []
  const after = taken.reduce((before, line) => receive(before, { ...line, quantity: -line.quantity }), state)
  return { ...after, holds: new Map(after.holds).set(id, { ...held, state: how }) }
}

/** The quantity that is held at a place, without the holds in `freed`. */
export function reserved({ holds }: State, place: Line, freed: ReadonlySet<string> = new Set()): number {
  return [...holds]
    .filter(([id, { state }]) => state === 'held' && !freed.has(id))
    .flatMap(([, { lines }]) => lines)
    .filter((line) => placeOf(line) === placeOf(place))
    .reduce((sum, { quantity }) => sum + quantity, 0)
}

export function free(state: State, place: Line, freed: ReadonlySet<string> = new Set()): number {
  return (state.onHand.get(placeOf(place)) ?? 0) - reserved(state, place, freed)
}

export function heldFor({ holds }: State, cart: string | undefined): string[] {
  return [...holds].flatMap(([id, each]) => (cart && each.cart === cart && each.state === 'held' ? [id] : []))
}

/** The locations that serve an order, and every line that is short. Lines of one product and location are summed; those with a location go first. */
export function allocate(state: State, lines: readonly Line[], freed: ReadonlySet<string>) {
  const demands: Line[] = []
  for (const line of [...lines].sort((a, b) => Number(!a.location) - Number(!b.location))) {
    const same = demands.find(({ productId, location }) => productId === line.productId && location === line.location)
    if (same) same.quantity += line.quantity
    else demands.push({ ...line })
  }
  const served: Array<Required<Line>> = []
  const shortages: Array<{ productId: string; requested: number; available: number }> = []
  for (const { productId, quantity, location: wanted } of demands) {
    const offers = (wanted ? [wanted] : LOCATIONS).map((location) => {
      const taken = served.filter((line) => placeOf(line) === placeOf({ productId, location, quantity }))
      const available = free(state, { productId, location, quantity }, freed)
      return { location, available: available - taken.reduce((sum, line) => sum + line.quantity, 0) }
    })
    const source = offers.find(({ available }) => available >= quantity)
    if (source) served.push({ productId, quantity, location: source.location })
    else shortages.push({ productId, requested: quantity, available: Math.max(0, ...offers.map((o) => o.available)) })
  }
  return { served, shortages }
}
