/** The share that one actor may take at most, so that something is left for the requests of others. */
const SHARE_OF_ONE = 3 / 4

export interface Shares {
  /** The amount that all actors have taken together. */
  taken: () => number
  /** Takes an amount for an actor, mostly an API key, or for an actor that is not known yet. False if less is left, or the actor has its share. */
  take: (actor: string | undefined, amount: number) => boolean
  giveBack: (actor: string | undefined, amount: number) => void
}

/** Divides a resource that all requests share: a function's slots, a process's memory for bodies, or the pages that it reads at a time. */
export function createShares(total: number): Shares {
  const shareMax = Math.ceil(total * SHARE_OF_ONE)
  const ofActors = new Map<string, number>()
  let taken = 0
  return {
    taken: () => taken,
    take(actor, amount) {
      if (taken + amount > total) return false
      if (actor !== undefined) {
        const ofActor = (ofActors.get(actor) ?? 0) + amount
        if (ofActor > shareMax) return false
        ofActors.set(actor, ofActor)
      }
      taken += amount
      return true
    },
    giveBack(actor, amount) {
      taken -= amount
      if (actor === undefined) return
      const left = (ofActors.get(actor) ?? 0) - amount
      if (left > 0) ofActors.set(actor, left)
      else ofActors.delete(actor)
    },
  }
}
