import { setTimeout as sleep } from 'node:timers/promises'
import { counter } from '#telemetry'
import type { CacheStore, Entry, EntryKey, Found } from './stores/store.ts'

/** As long as a load in another process usually takes. After this time, this process loads the value as well. */
const OTHERS_WAIT_MS = 100
const OTHERS_POLL_MS = 10

const failures = counter('cache_failures_total', 'Operations that the cache failed. Requests go on without it.', [
  'operation',
])

/** Look-ups under way in a store outside of this process. Readers of one key share a look-up. */
const underWay = new Map<string, Promise<Found>>()

/** Never throws: while the cache fails, every reader gets the lease of a miss. */
export function lookUp(store: CacheStore, entryKey: EntryKey, lease: boolean): Promise<Found> | Found {
  const name = lease ? `lease ${entryKey.key}` : entryKey.key
  const shared = underWay.get(name)
  if (shared) return shared
  const found = store.get(entryKey, lease)
  if (!(found instanceof Promise)) return found
  const lookingUp = attempt('get', () => found).then((answer) => {
    underWay.delete(name)
    return answer ?? { isLeased: true }
  })
  underWay.set(name, lookingUp)
  return lookingUp
}

/** Waits until the process that has the lease puts its entry. Undefined if this process has to load the value itself. */
export async function waitForOthers(store: CacheStore, entryKey: EntryKey): Promise<Entry | undefined> {
  for (let waitedMs = 0; waitedMs < OTHERS_WAIT_MS; waitedMs += OTHERS_POLL_MS) {
    await sleep(OTHERS_POLL_MS)
    const { entry, isLeased } = await lookUp(store, entryKey, true)
    if (entry || isLeased) return entry
  }
  return undefined
}

/** Undefined if the cache fails. */
export async function attempt<Result>(
  operation: string,
  work: () => Promise<Result> | Result,
): Promise<Result | undefined> {
  try {
    return await work()
  } catch {
    failures.inc({ operation })
    return undefined
  }
}
