import type { Sql } from '../connections/connect.ts'
import type { Lease } from '../connections/lease-pool.ts'
import { begin, commit, rollback } from '../transactions/attempt.ts'
import { pipeline } from '../transactions/pipeline.ts'
import { claim, type Decision, type Member, store } from './answers.ts'
import type { Entry, Queue } from './queue.ts'

export type Batch<Item> = [Item, ...Item[]]

/** What a batch is decided with, while its locks are held. */
export interface Group<Request, Result> {
  /** Whether a request that came while the locks were waited for can be decided under them. */
  covers: (request: Request) => boolean
  /** Decides one request; called in the order of arrival. A refusal is a decision and leaves no write. */
  decide: (member: Member<Request>) => Decision<Result>
  /** Sends the writes of all that was decided, which it is told once more: the commit travels right behind them. */
  write: (decisions: Iterable<Decision<Result>>) => Promise<unknown>
}

type Decisions<Request, Result> = Map<Member<Request>, Decision<Result>>

/**
 * Decides a batch, and what joins it from the queue, and commits it. `batch` has whoever has joined by the end, also by a
 * failed one.
 */
export async function commitBatch<Request, Result>(
  lease: Lease,
  batch: Batch<Entry<Request, Result>>,
  open: (tx: Sql) => Promise<Group<Request, Result>>,
  queue?: Queue<Request, Result>,
): Promise<{ decisions: Decisions<Request, Result>; token: string }> {
  const { tx, close } = begin(lease)
  try {
    // Sent together. A member whose answer is stored already has locks taken for nothing, which harms nobody.
    const [claimed, group] = await pipeline([claim<Request, Result>(tx, batch), open(tx)])
    const decided: Decisions<Request, Result> = new Map()
    for (const member of batch) if (!claimed.has(member)) decided.set(member, group.decide(member))
    if (queue) {
      const joined = await letJoin(tx, batch, group, queue)
      for (const [member, decision] of joined.claimed) claimed.set(member, decision)
      for (const [member, decision] of joined.decided) decided.set(member, decision)
    }
    const written = group.write(decided.values())
    // Should the connection be gone by now, nobody waits for it.
    written.catch(() => {})
    close()
    const token = await commit(lease, tx, () => pipeline([written, store(lease.sql, decided)]))
    return { decisions: new Map([...claimed, ...decided]), token }
  } catch (error) {
    close()
    await rollback(lease)
    throw error
  }
}

/** Adds those that have come since the batch was closed, as far as its locks do for them, and decides on them. */
async function letJoin<Request, Result>(
  tx: Sql,
  batch: Batch<Entry<Request, Result>>,
  group: Group<Request, Result>,
  queue: Queue<Request, Result>,
) {
  const late = queue.take(batch, ({ request }) => group.covers(request))
  // Before anything can fail: whoever is in the batch is told.
  batch.push(...late)
  const claimed = await claim<Request, Result>(tx, late)
  const decided: Decisions<Request, Result> = new Map()
  const refused: typeof late = []
  for (const entry of late) {
    if (claimed.has(entry)) continue
    const decision = group.decide(entry)
    if ('result' in decision) decided.set(entry, decision)
    else refused.push(entry)
  }
  // What stands in their way may have ended between the group's look and their coming: the next group looks anew.
  for (const entry of refused) batch.splice(batch.indexOf(entry), 1)
  queue.giveBack(refused)
  return { claimed, decided }
}
