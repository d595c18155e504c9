import type { LoggedEvent } from '../postgres/log.ts'
import { createResumption, type Progress, type WaitingHead } from './progress.ts'
import { backoffMs } from './waits.ts'

/** A record of a partition. */
export interface Entry {
  position: number
  /** Entries of one key, which is the product, are delivered in order. */
  key: string
  /** The event, or why it can't be read. Undefined where the group does not want it: it is passed over. */
  content: LoggedEvent | Error | undefined
}

/** Keys that wait. More say that something else is wrong than with their events: the partition then waits with them. */
const WAITING_MAX = 50
/** Entries that are held back in memory, at some 2 kB each, behind those to be retried. */
const HELD_MAX = 10_000

/** What becomes of an entry that was delivered. */
export type Settlement = { step: 'done' } | { step: 'retry'; isCounted: boolean; error: string }

interface WaitingKey<E> {
  /** The entry to be retried, and those behind it. */
  entries: [E, ...E[]]
  failures: number
  retryAt: number
}

/**
 * The entries of one partition that were read and are not done. An entry to be retried holds back the later entries of its key; all others
 * go on. It holds no more than 10,000 entries back, of no more than 50 keys.
 */
export interface Backlog<E extends Entry> {
  /** Adds entries in the order of the partition. Those that were added before, or were done before a restart, are left out. */
  add: (entries: readonly E[]) => void
  /**
   * The next entries to deliver, at most `max`; after those that are new, those to be retried by `dueAt`. One to be retried comes alone, and so
   * does one that failed with others.
   */
  next: (max: number, dueAt: number) => readonly E[]
  /** Counts an attempt at an entry, and gives the number of attempts. */
  begin: (entry: E, error: string) => number
  /** The error of the last attempt at an entry that was counted. */
  lastError: (entry: E) => string | undefined
  /** Settles the entries that `next` gave. What is behind an entry of its key that is to be retried waits with it. */
  settle: (entries: readonly E[], settlements: readonly Settlement[]) => void
  /** Has the entries that `next` gave delivered again after a pause, one by one. */
  failTogether: (entries: readonly E[], isCounted: boolean, error: string) => void
  /** Takes back what `next` gave and was not settled. */
  putBack: () => void
  progress: () => Progress
  /** The position of the last entry that was added. */
  read: () => number
  isFull: () => boolean
  /** Milliseconds until `next` has something to give; Infinity where nothing waits. */
  dueMs: () => number
}

/** `pauseMs` gives how long to wait after so many failures in a row. */
export function createBacklog<E extends Entry>(start: Progress, pauseMs = backoffMs): Backlog<E> {
  const resumption = createResumption(start)
  const waiting = new Map<string, WaitingKey<E>>()
  const tried = new Map<number, { attempts: number; error: string | undefined }>()
  let ready: E[] = []
  let underWay: readonly E[] = []
  let held = 0
  let read = start.position
  /** Entries up to here are delivered alone. */
  let aloneUntil = start.position
  /** Outages in a row. Two say that it is not one key that has to wait. */
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

  /** Gives what waited behind an entry that is done back to the others. */
  function release(entry: E): void {
    const key = waiting.get(entry.key)
    if (key?.entries[0] !== entry) return
    waiting.delete(entry.key)
    held -= key.entries.length
    // An entry is retried where nothing is ready.
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
