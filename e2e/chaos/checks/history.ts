import type { Movement, Reservation } from '#stock/schema'

/** One request, and what came of it: `201`, `503 unavailable`, or `none` where no answer came. */
export interface Attempt {
  operation: string
  startedAt: number
  endedAt: number
  told: string
  /** Whether it is no repetition. */
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

/** An acknowledged write: its kind, its idempotency key, and the answer's body; of a refusal, its code. */
export type Acknowledged =
  | { kind: 'create'; key: string; body: { id: string; stock: Level }; isOwn: boolean }
  | { kind: 'reserve'; key: string; body: Reservation }
  | { kind: 'shortage'; key: string; lines: ReadonlyArray<{ productId: string; quantity: number }> }
  | { kind: 'end' | 'extend'; key: string; body: Reservation }
  | { kind: 'not held'; key: string; id: string; code: string; at: number }
  | { kind: 'adjust'; key: string; body: Movement }
  | { kind: 'count'; key: string; body: { counts: ReadonlyArray<{ productId: string; variance: number }> } }

/** What a read with the token of a write saw of a product, or of a reservation. */
export type TokenRead =
  | { of: 'stock'; productId: string; seen: Level; after?: Movement }
  | { of: 'reservation'; id: string; seen: Reservation }

/** All that is there in the end, as the API tells it. */
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

/** Whether a request was turned away, or broken off: the client has to send it again. */
export const isRefused = ({ told }: Attempt) => told === 'none' || /^5/.test(told)
