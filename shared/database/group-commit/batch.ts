import type { Sql } from '../connections/connect.ts'
import type { Lease } from '../connections/pool/lease-pool.ts'
import { begin, commit, rollback } from '../transactions/attempt.ts'
import { pipeline } from '../transactions/pipeline.ts'
import { claim, type Decision, type Member, store } from './answers.ts'
import type { Entry, Queue } from './queue.ts'

export type Batch<Item> = [Item, ...Item[]]

/** Decides a batch, while its locks are held. */
export interface Group<Request, Result> {
  /** Whether a late joiner, which arrived during the wait for the locks, can be decided under these locks. */
  covers: (request: Request) => boolean
  /** Decides one request, in the order of arrival. A refusal is a decision that writes nothing. */
  decide: (member: Member<Request>) => Decision<Result>
  /** Sends the writes of all decisions. The commit is sent right behind them. */
  write: (decisions: Iterable<Decision<Result>>) => Promise<unknown>
}

type Decisions<Request, Result> = Map<Member<Request>, Decision<Result>>

/** Decides a batch and its late joiners from the queue, and commits it. Adds the late joiners to `batch`, even if it fails. */
export async function commitBatch<Request, Result>(
  lease: Lease,
  batch: Batch<Entry<Request, Result>>,
  open: (tx: Sql) => Promise<Group<Request, Result>>,
  queue?: Queue<Request, Result>,
): Promise<{ decisions: Decisions<Request, Result>; token: string }> {
  const { tx, close } = begin(lease)
  try {
    // Sent together. Members whose answer is already stored do not need their locks, but the locks do no harm.
    const [claimed, group] = await pipeline([claim<Request, Result>(tx, batch), open(tx)])
    const decided: Decisions<Request, Result> = new Map()
    for (const member of batch) if (!claimed.has(member)) decided.set(member, group.decide(member))
    if (queue) {
      const late = await addLateJoiners(tx, batch, group, queue)
      for (const [member, decision] of late.claimed) claimed.set(member, decision)
      for (const [member, decision] of late.decided) decided.set(member, decision)
    }
    const written = group.write(decided.values())
    // If the connection has dropped by now, nothing awaits this promise.
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

/** Adds the requests that have arrived since the batch was taken and whose rows its locks cover, and decides them. */
async function addLateJoiners<Request, Result>(
  tx: Sql,
  batch: Batch<Entry<Request, Result>>,
  group: Group<Request, Result>,
  queue: Queue<Request, Result>,
) {
  const late = queue.take(batch, ({ request }) => group.covers(request))
  // Added before anything can fail, since every member of the batch gets an answer.
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
  // The cause of a refusal may have ended between the batch's reads and the arrival of the late joiner. The next batch reads again.
  for (const entry of refused) batch.splice(batch.indexOf(entry), 1)
  queue.giveBack(refused)
  return { claimed, decided }
}
