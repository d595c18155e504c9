import type { Action, Part } from '../faults.ts'

/** A running shop, with all that it needs, which can be broken. */
export interface Target {
  name: string
  /** The router's. */
  url: string
  key: string
  /** Where it can send webhooks to, and what was sent there is told. */
  onDelivery: (listener: (body: string) => void) => void
  receiverUrl: string
  /** Breaks a part. Resolves once it is broken; what it gives mends it. Throws where that can't be done. */
  strike: (part: Part, action: Action, which: number) => Promise<Mend>
  /** What ended by itself, or did not come back, so far. */
  failures: string[]
  /** What its processes have said that matters. */
  log: () => Promise<string>
}

/** Mends what was broken, and says what was hit. */
export interface Mend {
  hit: string
  mend: () => Promise<unknown>
}
