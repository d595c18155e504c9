import { jobTypes } from '../job-types.ts'

/** How many jobs of each type this process runs at once. */
export interface Slots {
  /** The free slots by type, without the types that have none. */
  free: () => Map<string, number>
  /** Takes a slot of this type. Waits for one if none is free, in the order of the calls. */
  acquire: (type: string) => Promise<void>
  release: (type: string) => void
}

export function createSlots(): Slots {
  const free = new Map<string, number>(Object.entries(jobTypes).map(([type, { concurrency }]) => [type, concurrency]))
  const waiting = new Map<string, Array<() => void>>()
  const add = (type: string, count: number) => free.set(type, (free.get(type) ?? 0) + count)
  return {
    free: () => new Map([...free].filter(([, count]) => count > 0)),
    async acquire(type) {
      if ((free.get(type) ?? 0) > 0) {
        add(type, -1)
        return
      }
      await new Promise<void>((resolve) => {
        waiting.set(type, [...(waiting.get(type) ?? []), resolve])
      })
    },
    release(type) {
      // The slot goes straight to the first waiting call.
      const next = waiting.get(type)?.shift()
      if (next) next()
      else add(type, 1)
    },
  }
}
