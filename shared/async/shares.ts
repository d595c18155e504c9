/** What one actor may take at most, so that the requests of others find some. */
const SHARE_OF_ONE = 3 / 4

export interface Shares {
  /** What is taken, by all. */
  taken: () => number
  /** Takes some for an actor, mostly an API key, or for none that is known yet. False where less is left, or the actor has its share. */
  take: (actor: string | undefined, amount: number) => boolean
  giveBack: (actor: string | undefined, amount: number) => void
}

/** Divides what all requests share: a function's places, a process's memory for bodies, or the pages that it reads at a time. */
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
