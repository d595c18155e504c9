import { setTimeout as sleep } from 'node:timers/promises'
import { waitUntil } from '../../infra/local/waits.ts'
import type { Checker } from './checks/checker.ts'
import { type Attempt, isRefused } from './checks/history.ts'
import { nameOf } from './faults.ts'
import type { Client } from './load/client.ts'
import type { Load } from './load/load.ts'
import { type Round, type Strike, seconds } from './plan.ts'
import type { Target } from './targets/target.ts'

/** The result of a round. Times are milliseconds since 1970. */
export interface Outcome {
  number: number
  strikes: Array<{ name: string; hit: string; from: number; to: number }>
  /** The time since the end of the last fault. */
  recoveredInMs: number
  recoversWithinMs: number
  /** Requests that had to be sent again, from the first fault until all had recovered. */
  refused: number
}

/** Everything must go well for this long before a round counts as over. */
const CALM_MS = 1_500
/** Events that are not delivered for this long are a backlog. It would count against the next round's limit. */
const BACKLOG_MS = 3_000
/** How long to wait for a round beyond its limit, so that it does not affect the next round. */
const PATIENCE_MS = 90_000
/** The operations that must succeed again. The others are too rare to wait for. */
export const FREQUENT = [
  'POST /v1/reservations',
  'POST /v1/products/{productId}/stock/adjustments',
  'GET /v1/products/{productId}',
  'GET /v1/products/{productId}/stock',
  'POST /v1/stock/availability',
]

/** Runs rounds against a target under load, one at a time. Knows when requests may be refused, and when everything works again. */
export function createRounds(
  target: Pick<Target, 'strike'>,
  client: Pick<Client, 'oldestOpen'>,
  load: Pick<Load, 'undelivered' | 'openImportSince'>,
  checker: Checker,
  calmMs = CALM_MS,
) {
  /** Time spans in which requests may be refused or, if the router is struck, get no answer at all. */
  const spans: Array<{ from: number; to: number; hasRouter: boolean }> = []
  const lastGood = new Map<string, number>()
  let lastRefused = 0
  let refused = 0
  /** The end of the last operation that had begun before the faults ended. */
  let lastLate = 0

  const mayRefuse = ({ startedAt, endedAt, told }: Attempt) =>
    spans.some(({ from, to, hasRouter }) => from <= endedAt && startedAt <= to && (told !== 'none' || hasRouter))

  function missing(since: number): string[] {
    const begun = (at: number | undefined) => at !== undefined && at < since
    const unanswered = FREQUENT.filter((operation) => (lastGood.get(operation) ?? 0) < Math.max(since, lastRefused))
    const late = [
      ...(begun(client.oldestOpen()) ? ['a request has had no answer'] : []),
      ...([...load.undelivered.values()].some(begun) ? ['events have not been delivered'] : []),
      ...(begun(load.openImportSince()) ? ['an import has not ended'] : []),
    ]
    if (late.length > 0) lastLate = Date.now()
    const isCalm = Date.now() - Math.max(since, lastRefused) >= calmMs
    return [
      ...late,
      ...(isCalm ? [] : ['requests are refused']),
      ...unanswered.map((operation) => `${operation} has not been answered`),
    ]
  }

  /** Waits until everything that began before `since` has ended, and everything after it succeeds. Throws if that does not happen. */
  async function recovery(since: number, boundMs: number): Promise<number> {
    lastLate = 0
    if (!(await waitUntil(() => missing(since).length === 0, boundMs + calmMs, 100)))
      checker.find('recovery', `after ${seconds(boundMs)}: ${missing(since).join(', ')}`)
    if (!(await waitUntil(() => missing(since).length === 0, PATIENCE_MS, 100)))
      throw new Error(`it does not recover: ${missing(since).join(', ')}`)
    return Math.max(0, lastLate - since, lastRefused - since)
  }

  /** Waits for the backlog: new work may have to wait behind work that the faults had delayed. */
  async function noBacklog(): Promise<void> {
    const isBehind = () => [...load.undelivered.values()].some((since) => Date.now() - since > BACKLOG_MS)
    if (!(await waitUntil(() => !isBehind(), PATIENCE_MS, 100))) throw new Error('events do not catch up')
  }

  async function strike({ fault, which, afterMs, lastsMs }: Strike): Promise<Outcome['strikes'][number]> {
    await sleep(afterMs)
    const from = Date.now()
    const { hit, mend } = await target.strike(fault.part, fault.action, which)
    await sleep(lastsMs).finally(mend)
    return { name: nameOf(fault), hit, from, to: Date.now() }
  }

  return {
    onAttempt(attempt: Attempt): void {
      if (isRefused(attempt)) {
        lastRefused = attempt.endedAt
        refused++
      } else if (attempt.isFirst) lastGood.set(attempt.operation, attempt.startedAt)
      checker.attempt(attempt, mayRefuse(attempt))
    },

    recovery,

    async play({ number, strikes }: Round): Promise<Outcome> {
      await noBacklog()
      const hasRouter = strikes.some(({ fault }) => fault.part === 'router')
      const span = { from: Date.now(), to: Number.POSITIVE_INFINITY, hasRouter }
      if (strikes.some(({ fault }) => fault.mayRefuse)) spans.push(span)
      const before = refused
      const struck = await Promise.all(strikes.map(strike))
      const recoversWithinMs = Math.max(...strikes.map(({ fault }) => fault.recoversWithinMs))
      const recoveredInMs = await recovery(Math.max(...struck.map(({ to }) => to)), recoversWithinMs)
      span.to = Date.now()
      return { number, strikes: struck, recoveredInMs, recoversWithinMs, refused: refused - before }
    },
  }
}
