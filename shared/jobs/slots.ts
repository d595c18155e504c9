import { type JobType, jobTypes } from './schema.ts'

/** How many jobs of each type this process runs at once. */
export interface Slots {
  /** Types that no further job may be begun of. */
  full: () => string[]
  /** How many more jobs of a type may be begun. */
  free: (type: string) => number
  /** Resolves when there is a slot of this type, in the order of asking; at once where there is one. */
  enter: (type: string) => Promise<void>
  leave: (type: string) => void
}

export function createSlots(): Slots {
  const busy = new Map<string, number>()
  const waiting = new Map<string, Array<() => void>>()
  const free = (type: string) => concurrencyOf(type) - (busy.get(type) ?? 0)
  return {
    free,
    full: () => [...busy.keys()].filter((type) => free(type) <= 0),
    async enter(type) {
      if (free(type) > 0) {
        busy.set(type, (busy.get(type) ?? 0) + 1)
        return
      }
      await new Promise<void>((resolve) => {
        waiting.set(type, [...(waiting.get(type) ?? []), resolve])
      })
    },
    leave(type) {
      // Whoever waits gets this very slot.
      const next = waiting.get(type)?.shift()
      const left = (busy.get(type) ?? 0) - 1
      if (next) next()
      else if (left > 0) busy.set(type, left)
      else busy.delete(type)
    },
  }
}

/** Of a type that this version does not know, one: it is refused as soon as it is looked at. */
function concurrencyOf(type: string): number {
  return Object.hasOwn(jobTypes, type) ? jobTypes[type as JobType].concurrency : 1
}
