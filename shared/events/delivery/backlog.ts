import type { LoggedEvent } from '../postgres/log.ts'
import { createResumption, type Progress, type WaitingHead } from './progress.ts'
import { backoffMs } from './waits.ts'

/** A record of a partition. */
export interface Entry {
  position: number
  /** Entries of one key, which is the product's id, are delivered in order. */
  key: string
  /** The event, or the reason why it can't be read. Undefined if the group does not want it: it is skipped. */
  content: LoggedEvent | Error | undefined
}

/** The most keys that may wait. If more do, the cause is not their events: the whole partition then waits. */
const WAITING_MAX = 50
/** The most entries that are held in memory, at some 2 kB each, behind entries to be retried. */
const HELD_MAX = 10_000

/** The result of an entry's delivery. */
export type Settlement = { step: 'done' } | { step: 'retry'; isCounted: boolean; error: string }

interface WaitingKey<E> {
  /** The entry to be retried, and the entries behind it. */
  entries: [E, ...E[]]
  failures: number
  retryAt: number
}

/**
 * The entries of one partition that were read and are not done. An entry to be retried holds back the later entries of its key; all other entries
 * go on. The backlog holds back at most 10,000 entries, of at most 50 keys.
 */
export interface Backlog<E extends Entry> {
  /** Adds entries in the order of the partition. Entries that were added before, or were done before a restart, are left out. */
  add: (entries: readonly E[]) => void
  /**
   * The next entries to deliver, at most `max`: first new ones, then those to be retried by `dueAt`. An entry to be retried is delivered alone, and
   * so is an entry that failed together with others.
   */
  next: (max: number, dueAt: number) => readonly E[]
  /** Counts an attempt at an entry, and returns the number of attempts. */
  begin: (entry: E, error: string) => number
  /** The error of the last counted attempt at an entry. */
  lastError: (entry: E) => string | undefined
  /** Settles the entries that `next` returned. The entries behind an entry of their key that is to be retried wait with it. */
  settle: (entries: readonly E[], settlements: readonly Settlement[]) => void
  /** Makes the entries that `next` returned be delivered again after a pause, one by one. */
  failTogether: (entries: readonly E[], isCounted: boolean, error: string) => void
  /** Takes back the entries that `next` returned and that were not settled. */
  putBack: () => void
  progress: () => Progress
  /** The position of the last entry that was added. */
  read: () => number
  isFull: () => boolean
  /** Milliseconds until `next` has an entry to return; Infinity if no entry waits. */
  dueMs: () => number
}

/** `pauseMs` returns how long to wait after this many failures in a row. */
export function createBacklog<E extends Entry>(start: Progress, pauseMs = backoffMs): Backlog<E> {
  const resumption = createResumption(start)
  const waiting = new Map<string, WaitingKey<E>>()
  const tried = new Map<number, { attempts: number; error: string | undefined }>()
  let ready: E[] = []
  let underWay: readonly E[] = []
  let held = 0
  let read = start.position
  /** Entries up to this position are delivered alone. */
  let aloneUntil = start.position
  /** Outages in a row. Two of them mean that not only one key has to wait. */
  let outages = 0
  let pausedUntil = 0

  function hold(entry: E): boolean {
    const key = waiting.get(entry.key)
    if (!key) return false
    key.entries.push(entry)
    held++
    return true
  }

  const isAlone = ({ position, content }: E) =>
    position <= aloneUntil || tried.has(position) || content instanceof Error

  function fail(entry: E, isCounted: boolean, error: string | undefined): void {
    const attempts = (tried.get(entry.position)?.attempts ?? 1) - (isCounted ? 0 : 1)
    if (attempts > 0) tried.set(entry.position, { attempts, error })
    else tried.delete(entry.position)
    const key = waiting.get(entry.key) ?? { entries: [entry] as [E], failures: 0, retryAt: 0 }
    if (!waiting.has(entry.key)) held++
    waiting.set(entry.key, key)
    key.retryAt = performance.now() + pauseMs(++key.failures)
  }

  function pauseAfterOutages(): void {
    outages++
    if (outages > 1) pausedUntil = performance.now() + pauseMs(outages - 1)
  }

  /** Gives the entries that waited behind a finished entry back to the others. */
  function release(entry: E): void {
    const key = waiting.get(entry.key)
    if (key?.entries[0] !== entry) return
    waiting.delete(entry.key)
    held -= key.entries.length
    // An entry is retried only if no entry is ready.
    ready = key.entries.slice(1)
  }

  function heads(): WaitingHead[] {
    const list = [...waiting].map(([key, { entries }]) => ({ key, position: entries[0].position }))
    const begun = underWay.filter(({ key, position }) => tried.has(position) && !waiting.has(key))
    return [...list, ...begun].map(({ key, position }) => ({
      key,
      position,
      attempts: tried.get(position)?.attempts ?? 0,
    }))
  }

  const firstReady = () => [...underWay.filter(({ key }) => !waiting.has(key)), ...ready.slice(0, 1)][0]?.position

  return {
    add(entries) {
      for (const entry of entries) {
        if (entry.position <= read) continue
        read = entry.position
        if (entry.content === undefined || resumption.isDone(entry)) continue
        const attempts = resumption.attemptsAt(entry)
        if (attempts > 0) tried.set(entry.position, { attempts, error: undefined })
        if (!hold(entry)) ready.push(entry)
      }
    },
    next(max, dueAt) {
      if (performance.now() < pausedUntil) return []
      const alone = ready.slice(0, max).findIndex(isAlone)
      underWay = ready.splice(0, alone === -1 ? max : Math.max(1, alone))
      if (underWay.length > 0) return underWay
      const due = [...waiting.values()].find(({ retryAt }) => retryAt <= dueAt)
      underWay = due ? [due.entries[0]] : []
      return underWay
    },
    begin(entry, error) {
      const attempts = (tried.get(entry.position)?.attempts ?? 0) + 1
      tried.set(entry.position, { attempts, error })
      return attempts
    },
    lastError: (entry) => tried.get(entry.position)?.error,
    settle(entries, settlements) {
      underWay = []
      const failed = new Set<string>()
      for (const [index, entry] of entries.entries()) {
        const settlement = settlements[index]
        if (failed.has(entry.key)) hold(entry)
        else if (settlement?.step === 'retry') {
          failed.add(entry.key)
          fail(entry, settlement.isCounted, settlement.error)
        } else {
          tried.delete(entry.position)
          release(entry)
        }
      }
      if (failed.size > 0) ready = ready.filter((entry) => !failed.has(entry.key) || !hold(entry))
      if (settlements.every((settlement) => settlement.step === 'retry' && !settlement.isCounted)) pauseAfterOutages()
      else outages = 0
    },
    failTogether(entries, isCounted, error) {
      underWay = []
      for (const { position } of entries) {
        if (isCounted) tried.set(position, { attempts: 1, error })
        else tried.delete(position)
      }
      ready = [...entries, ...ready]
      aloneUntil = Math.max(aloneUntil, entries.at(-1)?.position ?? 0)
      pausedUntil = performance.now() + pauseMs(++outages)
    },
    putBack() {
      ready = [...underWay.filter(({ key }) => !waiting.has(key)), ...ready]
      underWay = []
    },
    progress: () => resumption.progress(read, heads(), firstReady(), [...underWay, ...ready]),
    read: () => read,
    isFull: () => held >= HELD_MAX || waiting.size >= WAITING_MAX || ready.length > 0,
    dueMs() {
      const now = performance.now()
      if (ready.length > 0) return Math.max(0, pausedUntil - now)
      const next = Math.min(...[...waiting.values()].map(({ retryAt }) => retryAt))
      return Math.max(0, Math.max(next, pausedUntil) - now)
    },
  }
}
