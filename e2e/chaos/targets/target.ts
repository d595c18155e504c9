import type { Action, Part } from '../faults.ts'

/** A running shop with everything that it needs. Its parts can be broken. */
export interface Target {
  name: string
  /** The router's URL. */
  url: string
  key: string
  /** The webhooks that it sends to `receiverUrl` are reported to this listener. */
  onDelivery: (listener: (body: string) => void) => void
  receiverUrl: string
  /** Breaks a part. Resolves once it is broken, with a way to mend it. Throws if the part can't be broken. */
  strike: (part: Part, action: Action, which: number) => Promise<Mend>
  /** The parts that ended by themselves, or did not come back, so far. */
  failures: string[]
  /** Returns the important lines of its processes' logs. */
  log: () => Promise<string>
}

/** Mends what was broken, and says what was hit. */
export interface Mend {
  hit: string
  mend: () => Promise<unknown>
}
