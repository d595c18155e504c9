import { type RequestContext, type Sql, StaleRead, transaction } from '#database'
import { ServiceError } from '#errors'
import { expiredMaxOf, lockStock } from './lock-stock.ts'
import type { LockedStock } from './locked-stock.ts'

/**
 * Runs `work` in a transaction and passes it the function that locks stock. If `work` refuses the request while overdue holds are left on its
 * products, it runs again and more of them are ended: an overdue hold must never cost a request its stock.
 *
 * @example
 * stockTransaction(context, async (tx, lock) => {
 *   const stock = await lock([productId])
 *   const movement = stock.change(context, { productId, location: 'main', type: 'adjustment', onHandDelta: 5, reservedDelta: 0 })
 *   await stock.save()
 *   return movement
 * })
 */
export function stockTransaction<Result>(
  context: RequestContext,
  work: (tx: Sql, lock: (productIds: Iterable<string>) => Promise<LockedStock>) => Promise<Result>,
): Promise<Result> {
  let refusals = 0
  return transaction(context, async (tx) => {
    const expiredMax = expiredMaxOf(1 + refusals)
    let isCutOff = false
    try {
      return await work(tx, async (productIds) => {
        const stock = await lockStock(tx, context, productIds, { expiredMax })
        isCutOff = stock.isCutOff
        return stock
      })
    } catch (error) {
      if (!isCutOff || !(error instanceof ServiceError)) throw error
      refusals++
      throw new StaleRead('overdue holds were left')
    }
  })
}
