import { type Decision, groupCommit, type RequestContext } from '#database'
import { ServiceError } from '#errors'
import { keysOf } from './lookups.ts'
import { openGroup, type StockChange, type StockGroup } from './stock-group.ts'

/**
 * A process's only queue for changes of stock, of all kinds. Changes that wait at the same time share one transaction: see
 * docs/decisions/0006-group-commit.md.
 */
const commitChange = groupCommit<StockChange<unknown>, unknown>({
  name: 'stock',
  // Half of the changes that a saturated process has in flight: it reads and answers one half while the database is busy with the other. With twice
  // as many, process and database take turns; with half as many, too few changes share the cost of a transaction.
  batchMax: 128,
  // Two changes of 500 products each: at 0.1 ms a line, their locks are held for a tenth of a second.
  weightMax: 1_000,
  weightOf: ({ refersTo: { lines } }) => lines?.length ?? 1,
  // As many changes as the connections of several processes can send; at 5,000 requests a second, a full queue is empty in a second.
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

/** Commits a change of stock together with others that wait. It is decided after the changes that came before it. Throws if it is refused. */
export function changeStock<Result>(change: StockChange<Result>, context: RequestContext): Promise<Result> {
  // The result is the change's own, or the stored result of an equal request.
  return commitChange(change, context) as Promise<Result>
}

function decide(change: StockChange<unknown>, group: StockGroup, context: RequestContext): Decision<unknown> {
  const before = group.stock.changes()
  try {
    return change.decide(group, context)
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error
    // This fails the whole group. Each member then gets its own transaction.
    if (group.stock.changes() !== before)
      throw new Error('a refused change left a part of itself behind', { cause: error })
    return { error }
  }
}
