import { overloaded, ServiceError } from '#errors'
import { gauge, histogram, type Span, tracing } from '#telemetry'
import type { RequestContext } from '../request-context.ts'
import { nameOf } from '../transactions/idempotency.ts'
import type { Member } from './answers.ts'

export interface Entry<Request, Result> extends Member<Request> {
  /** Keys that no other member of its transaction may have. */
  keys: readonly string[]
  weight: number
  enqueuedAt: number
  /** Its place in the order of arrival. */
  number: number
  /** The request's span, if it is recorded. */
  span: Span | undefined
  resolve: (result: Result) => void
  reject: (error: unknown) => void
}

export interface QueueOptions<Request> {
  /** For the metrics. */
  name: string
  /** The most requests in one transaction. */
  batchMax: number
  /** The most weight in one transaction, by `weightOf`. A request that weighs more has a transaction of its own. */
  weightMax?: number
  /** What a request adds to the cost of its transaction. By default, all requests weigh nothing. */
  weightOf?: (request: Request) => number
  /** The most requests that may wait for the next transaction. */
  queueMax: number
  /** Keys that no two requests of one transaction may share. */
  keysOf?: (request: Request) => string[]
}

/**
 * A function's default time-out is 5 s. After this wait, the client has almost given up, and another request makes better use of the place in the
 * batch.
 */
const WAIT_MAX_MS = 4_000

const queueWait = histogram('group_commit_wait_seconds', 'Time from a request until it is in a transaction.', ['group'])
const queueLength = gauge('group_commit_queue_length', 'Requests that wait for the next transaction.', ['group'])

export type Queue<Request, Result> = ReturnType<typeof createQueue<Request, Result>>

/** The requests that wait for a transaction, in the order of their arrival. */
export function createQueue<Request, Result>(options: QueueOptions<Request>) {
  type Waiting = Entry<Request, Result>
  const { name: group, batchMax, weightMax = Infinity, queueMax } = options
  const wait = queueWait.labels(group)
  let waiting: Waiting[] = []
  let arrivals = 0

  function keysOf(request: Request, { idempotency }: RequestContext): string[] {
    const keys = options.keysOf?.(request) ?? []
    return idempotency ? [...keys, `key ${nameOf(idempotency)}`] : keys
  }

  return {
    length: () => waiting.length,
    /** Resolves with the result once the request's transaction has committed. */
    add: (request: Request, context: RequestContext) =>
      new Promise<Result>((resolve, reject) => {
        if (waiting.length >= queueMax) {
          reject(overloaded(`${queueMax} requests already wait for their turn. Try again shortly.`))
          return
        }
        const [keys, weight] = [keysOf(request, context), options.weightOf?.(request) ?? 0]
        waiting.push({
          request,
          context,
          keys,
          weight,
          resolve,
          reject,
          enqueuedAt: performance.now(),
          number: ++arrivals,
          span: tracing()?.current(),
        })
      }),
    /** Puts requests back to their places in the order of arrival. */
    giveBack(entries: readonly Waiting[]): void {
      if (entries.length > 0) waiting = [...entries, ...waiting].sort((a, b) => a.number - b.number)
    },
    /**
     * Takes the requests that fit into a batch, up to its bounds. A request that shares a key with a request of the batch, or with one before it in
     * the queue, stays for the next batch. Rejects requests whose client is gone, or that have waited for too long.
     */
    take(batch: readonly Waiting[], fits: (entry: Waiting) => boolean = () => true): Waiting[] {
      const taken: Waiting[] = []
      const left: Waiting[] = []
      const seen = new Set(batch.flatMap(({ keys }) => keys))
      let weight = batch.reduce((sum, entry) => sum + entry.weight, 0)
      const now = performance.now()
      let looked = 0
      for (; looked < waiting.length && batch.length + taken.length < batchMax && weight < weightMax; looked++) {
        const entry = waiting[looked] as Waiting
        const refusal = refusalOf(entry, now)
        if (refusal) {
          entry.reject(refusal)
          continue
        }
        const isFirst = batch.length + taken.length === 0
        const isLight = isFirst || weight + entry.weight <= weightMax
        if (!isLight || entry.keys.some((key) => seen.has(key)) || !fits(entry)) left.push(entry)
        else {
          taken.push(entry)
          weight += entry.weight
        }
        // Also the keys of requests that stay, so that requests with the same key keep their order.
        for (const key of entry.keys) seen.add(key)
      }
      for (const { enqueuedAt } of taken) wait.observe((now - enqueuedAt) / 1000)
      waiting = [...left, ...waiting.slice(looked)]
      queueLength.set({ group }, waiting.length)
      return taken
    },
  }
}

/** Why a request is no longer worth running; undefined if it still is. */
export function refusalOf({ context, enqueuedAt }: Entry<unknown, never>, now: number): ServiceError | undefined {
  if (context.isGone())
    return new ServiceError('client_closed_request', 'The client disconnected before the work began.')
  return now - enqueuedAt > WAIT_MAX_MS
    ? overloaded('The request has waited for too long. Try again shortly.')
    : undefined
}
