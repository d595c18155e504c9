import { type Caller, type Sql, StaleRead, transaction } from '#database'
import { ServiceError } from '#errors'
import type { Book } from './book.ts'
import { EXPIRED_MAX, openBook } from './lock-stock.ts'

/**
 * Runs `work` with a book in a transaction. Where it refuses the request while overdue holds are left on its products,
 * it runs again with those ended too, because they must not stand in anyone's way.
 */
export function bookTransaction<Result>(
  caller: Caller,
  work: (tx: Sql, open: (productIds: Iterable<string>) => Promise<Book>) => Promise<Result>,
): Promise<Result> {
  let expiredMax = EXPIRED_MAX
  return transaction(caller, async (tx) => {
    let isCutOff = false
    try {
      return await work(tx, async (productIds) => {
        const book = await openBook(tx, caller, productIds, { expiredMax })
        isCutOff = book.isCutOff
        return book
      })
    } catch (error) {
      if (!isCutOff || !(error instanceof ServiceError)) throw error
      expiredMax *= 20
      throw new StaleRead('overdue holds were left')
    }
  })
}
