import { randomUUID } from 'node:crypto'
import { expect, vi } from 'vitest'
import { type Sql, systemContext } from '#database'
import type { Outcome } from '#errors'
import { type Following, follow, type LoggedEvent } from '#events'
import { sql } from '#testing'
import { type NewEvent, publish } from '../outbox/outbox.ts'
import { relayOutbox } from '../outbox/relay.ts'

export const topic = 'stock-events'
export const acknowledge: Outcome = { verdict: 'acknowledge' }
export const context = () => systemContext('function:test')
const started: Following[] = []

export interface Follower extends Following {
  /** Versions of the events that were delivered, in order. */
  versions: number[]
}

/** Follows the topic until `stopFollowing`. */
export function start(
  group: string,
  answer: (event: LoggedEvent) => Outcome | Promise<Outcome> = () => acknowledge,
  types?: readonly string[],
): Follower {
  const versions: number[] = []
  const following = follow({
    topics: [topic],
    group,
    types,
    deliver: async (event) => {
      versions.push(event.version)
      return answer(event)
    },
  })
  started.push(following)
  return { ...following, versions }
}

export async function stopFollowing(): Promise<void> {
  await Promise.all(started.splice(0).map((following) => following.stop()))
}

/** A consumer of Kafka that joins its group waits until the existing members notice. */
export const until = (check: () => unknown) => vi.waitFor(check, { timeout: 20_000, interval: 10 })

export const seen = ({ versions }: Follower, expected: number[]) => until(() => expect(versions).toEqual(expected))

/** An event that no change has caused. */
export function newEvent(productId: string, version: number, event: Partial<NewEvent> = {}): NewEvent {
  return { type: 'stock.adjusted', productId, version, data: { productId, version }, trace: context().trace, ...event }
}

export const write = (tx: Sql, productId: string, version: number) => publish(tx, [newEvent(productId, version)])

/** Publishes events with these versions, all of one product: a new one by default. */
export async function log(versions: number[], productId: string = randomUUID()): Promise<void> {
  await publish(
    sql,
    versions.map((version) => newEvent(productId, version)),
  )
  // A busy broker may not yet lead a topic that it has just created. Like the relay's function, this tries again.
  await vi.waitFor(() => relayOutbox(context()), { timeout: 10_000, interval: 100 })
}

/** A promise, and the function that resolves it. */
export function gate() {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}
