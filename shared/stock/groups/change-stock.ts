import { type Decision, groupCommit, type RequestContext } from '#database'
import { ServiceError } from '#errors'
import { keysOf } from './lookups.ts'
import { openGroup, type StockChange, type StockGroup } from './stock-group.ts'

/**
 * The one queue of a process for changes of stock, whatever their kind. Those that wait for the same moment share one transaction: see
 * docs/decisions/0006-group-commit.md.
 */
const commitChange = groupCommit<StockChange<unknown>, unknown>({
  name: 'stock',
  // Half of what a process has in flight when it is saturated: it reads and answers one half while the database is busy with
  // the other. With twice as many they take turns; with half as many the cost of a transaction is shared by too few.
  batchMax: 128,
  // Two changes of 500 products each: at 0.1 ms a line, their locks are held for a tenth of a second.
  weightMax: 1_000,
  weightOf: ({ refersTo: { lines } }) => lines?.length ?? 1,
  // What several processes' worth of connections can send; at 5,000 requests a second it is gone in a second.
  queueMax: 4_096,
  keysOf: ({ refersTo }) => keysOf(refersTo),
  async open(tx, members, attempt) {
    const changes = members.map(({ request, context }) => ({ refersTo: request.refersTo, context }))
    const { group, covers, write } = await openGroup(tx, members[0].context, changes, attempt)
    return {
      covers: ({ refersTo }) => covers(refersTo),
      decide: ({ request, context }) => decide(request, group, context),
      write,
    }
  },
})

/** Commits a change of stock, together with others that wait. It is decided after those that came before it. Throws its refusal. */
export function changeStock<Result>(change: StockChange<Result>, context: RequestContext): Promise<Result> {
  // The result is its own, or the stored one of an equal request.
  return commitChange(change, context) as Promise<Result>
}

function decide(change: StockChange<unknown>, group: StockGroup, context: RequestContext): Decision<unknown> {
  const before = group.stock.changes()
  try {
    return change.decide(group, context)
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    // Fails the whole group, whose members then have a transaction each.
    if (group.stock.changes() !== before)
      throw new Error('a refused change left a part of itself behind', { cause: error })
    return { error }
  }
}
