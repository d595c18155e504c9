import { overloaded, ServiceError } from '#errors'
import { gauge, histogram } from '#telemetry'
import { nameOf } from '../transactions/idempotency.ts'
import type { Member } from './answers.ts'

export interface Entry<Request, Result> extends Member<Request> {
  enqueuedAt: number
  resolve: (result: Result) => void
  reject: (error: unknown) => void
}

export interface QueueOptions<Request> {
  /** For the metrics. */
  name: string
  /** Requests in one transaction. */
  batchMax: number
  /** Requests that may wait for the next one. */
  queueMax: number
  /** Keys that no two requests of one transaction may share. */
  keysOf?: (request: Request) => string[]
}

/** A function's default time-out is 5 s: past this, the client has almost given up, and its place in the batch is better used. */
const WAIT_MAX_MS = 4_000

const queueWait = histogram('group_commit_wait_seconds', 'Time from a request until it is in a transaction.', ['group'])
const queueLength = gauge('group_commit_queue_length', 'Requests that wait for the next transaction.', ['group'])

export type Queue<Request, Result> = ReturnType<typeof createQueue<Request, Result>>

/** The requests that wait for a transaction, in the order of their arrival. */
export function createQueue<Request, Result>({ name: group, batchMax, queueMax, keysOf }: QueueOptions<Request>) {
  type Waiting = Entry<Request, Result>
  const wait = queueWait.labels(group)
  let waiting: Waiting[] = []

  function keysIn({ request, context }: Waiting): string[] {
    const keys = keysOf?.(request) ?? []
    if (context.idempotency) keys.push(`key ${nameOf(context.idempotency)}`)
    return keys
  }

  return {
    length: () => waiting.length,

    add(entry: Waiting): void {
      if (waiting.length < queueMax) waiting.push(entry)
      else entry.reject(overloaded(`${queueMax} requests already wait for their turn. Try again shortly.`))
    },

    /** Puts requests back at the head of the queue. */
    giveBack(entries: readonly Waiting[]): void {
      waiting = [...entries, ...waiting]
    },

    /**
     * Takes the requests that fit into a batch, up to its bound. A request that shares a key with one of the batch, or with one before it in
     * the queue, stays for the next batch. Rejects requests whose client is gone, or that have waited for too long.
     */
    take(batch: readonly Waiting[], fits: (entry: Waiting) => boolean = () => true): Waiting[] {
      const taken: Waiting[] = []
      const left: Waiting[] = []
      const seen = new Set(batch.flatMap(keysIn))
      const now = performance.now()
      for (const entry of waiting) {
        const refusal = refusalOf(entry, now)
        if (refusal) {
          entry.reject(refusal)
          continue
        }
        const keys = keysIn(entry)
        const isFull = batch.length + taken.length === batchMax
        if (isFull || keys.some((key) => seen.has(key)) || !fits(entry)) left.push(entry)
        else taken.push(entry)
        // Also those of requests that stay, so that requests with the same key keep their order.
        for (const key of keys) seen.add(key)
      }
      for (const { enqueuedAt } of taken) wait.observe((now - enqueuedAt) / 1000)
      waiting = left
      queueLength.set({ group }, left.length)
      return taken
    },
  }
}

/** Why a request is no longer worth running; undefined if it is. */
export function refusalOf({ context, enqueuedAt }: Entry<unknown, never>, now: number): ServiceError | undefined {
  if (context.isGone())
    return new ServiceError('client_closed_request', 'The client disconnected before the work began.')
  return now - enqueuedAt > WAIT_MAX_MS
    ? overloaded('The request has waited for too long. Try again shortly.')
    : undefined
}
