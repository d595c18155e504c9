import { askPrimary } from '#database'
import { COUNT_MAX, gauge, measure } from '#telemetry'

const lowProducts = gauge(
  'stock_low_products',
  `Products whose last alert says that they are low or out, counted to ${COUNT_MAX} of each.`,
  ['state'],
)

/** Counts the products that are low, and those that are out. */
export function measureLowStock(): Promise<void> {
  return measure('low-stock', [lowProducts], async () => {
    for (const state of ['low', 'out']) {
      const [row] = await askPrimary(
        (sql) => sql<[{ count: number }]>`
        select count(*) as count from (
          select from stock_alerts where state = ${state} and state <> 'none' limit ${COUNT_MAX}
        ) as raised`,
      )
      lowProducts.set({ state }, row.count)
    }
  })
}
