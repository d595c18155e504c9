import { jobTypes } from './schema.ts'

/** How many jobs of each type this process runs at once. */
export interface Slots {
  /** How many more may be begun, by type; types that have none left are not in it. */
  free: () => Map<string, number>
  /** Resolves when there is a slot of this type, in the order of asking; at once where there is one. */
  enter: (type: string) => Promise<void>
  leave: (type: string) => void
}

export function createSlots(): Slots {
  const free = new Map<string, number>(Object.entries(jobTypes).map(([type, { concurrency }]) => [type, concurrency]))
  const waiting = new Map<string, Array<() => void>>()
  const add = (type: string, count: number) => free.set(type, (free.get(type) ?? 0) + count)
  return {
    free: () => new Map([...free].filter(([, count]) => count > 0)),
    async enter(type) {
      if ((free.get(type) ?? 0) > 0) {
        add(type, -1)
        return
      }
      await new Promise<void>((resolve) => {
        waiting.set(type, [...(waiting.get(type) ?? []), resolve])
      })
    },
    leave(type) {
      // Whoever waits gets this very slot.
      const next = waiting.get(type)?.shift()
      if (next) next()
      else add(type, 1)
    },
  }
}
