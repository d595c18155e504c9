import type { Movement, Reservation } from '#stock/schema'

/** One request, and its result: `201`, `503 unavailable`, or `none` if no answer came. */
export interface Attempt {
  operation: string
  startedAt: number
  endedAt: number
  told: string
  /** Whether this is the first attempt, not a repetition. */
  isFirst: boolean
  /** How the answer differs from the OpenAPI document. */
  contradiction?: string
}

/** A broken promise of the service. */
export interface Finding {
  promise: 'documented' | 'not refused' | 'nothing lost' | 'nothing doubled' | 'never oversold' | 'tokens' | 'recovery'
  what: string
  at: number
}

export interface Level {
  onHand: number
  reserved: number
}

/** An acknowledged write: its kind, its idempotency key, and the answer's body; for a refusal, its code. */
export type Acknowledged =
  | { kind: 'create'; key: string; body: { id: string; stock: Level }; isOwn: boolean }
  | { kind: 'reserve'; key: string; body: Reservation }
  | { kind: 'shortage'; key: string; lines: ReadonlyArray<{ productId: string; quantity: number }> }
  | { kind: 'end' | 'extend'; key: string; body: Reservation }
  | { kind: 'not held'; key: string; id: string; code: string; at: number }
  | { kind: 'adjust'; key: string; body: Movement }
  | { kind: 'count'; key: string; body: { counts: ReadonlyArray<{ productId: string; variance: number }> } }

/** The state of a product or a reservation that a read with the token of a write returned. */
export type TokenRead =
  | { of: 'stock'; productId: string; seen: Level; after?: Movement }
  | { of: 'reservation'; id: string; seen: Reservation }

/** The whole final state, as the API returns it. */
export interface Truth {
  at: number
  levels: ReadonlyMap<string, Level>
  /** By product, oldest first. */
  movements: ReadonlyMap<string, readonly Movement[]>
  reservations: ReadonlyArray<Reservation>
  /** The number of each product's last event. */
  versions: ReadonlyMap<string, number>
  isConsistent: boolean
}

/** Whether a request was refused or broken off, so that the client has to send it again. */
export const isRefused = ({ told }: Attempt) => told === 'none' || /^5/.test(told)
