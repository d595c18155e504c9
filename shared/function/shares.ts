/** So much of it one API key may take at most, so that the requests of others always find some. */
const SHARE_OF_KEY = 3 / 4

export interface Shares {
  /** What is taken of it. */
  taken: () => number
  /** Takes some of it for an API key, or for nobody yet. False where there is not so much, or the key has its share. */
  take: (apiKeyId: string | undefined, amount: number) => boolean
  giveBack: (apiKeyId: string | undefined, amount: number) => void
}

/** Something that all requests share: a function's places, or a process's memory for bodies. */
export function createShares(total: number): Shares {
  const shareMax = Math.ceil(total * SHARE_OF_KEY)
  const ofKeys = new Map<string, number>()
  let taken = 0
  return {
    taken: () => taken,
    take(apiKeyId, amount) {
      if (taken + amount > total) return false
      if (apiKeyId !== undefined) {
        const ofKey = (ofKeys.get(apiKeyId) ?? 0) + amount
        if (ofKey > shareMax) return false
        ofKeys.set(apiKeyId, ofKey)
      }
      taken += amount
      return true
    },
    giveBack(apiKeyId, amount) {
      taken -= amount
      if (apiKeyId === undefined) return
      const left = (ofKeys.get(apiKeyId) ?? 0) - amount
      if (left > 0) ofKeys.set(apiKeyId, left)
      else ofKeys.delete(apiKeyId)
    },
  }
}
