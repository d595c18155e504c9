import type { Board } from './dashboard.ts'
import { median99, quantile, rate } from './promql.ts'

/** Reservations and sales, and how much contention for products slows them. */
export const stock: Board = {
  title: 'Stock',
  name: 'stock',
  rows: [
    {
      title: 'Reservations and sales',
      of: 'reserve-stock|confirm-reservation|release-reservation|expire-reservations',
      panels: [
        {
          title: 'Reservations by outcome',
          unit: 'ops',
          lines: { '{{outcome}}': rate('stock_reservations_total', 'outcome') },
          help: 'Confirmed are sales. If many more expire than usual, shoppers do not get to pay: look at the shop’s checkout, then at confirm-reservation.',
        },
        {
          title: 'Units by outcome',
          unit: 'ops',
          lines: { '{{outcome}}': rate('stock_reservation_units_total', 'outcome') },
          help: 'Pieces held, sold and given back. Many units in few reservations may be someone who buys up stock: set a limit (PUT /v1/products/{productId}/limit).',
        },
        {
          title: 'Refused reservations',
          unit: 'ops',
          lines: { '{{code}}': rate('function_problems_total{function="reserve-stock"}', 'code') },
          help: 'insufficient_stock in a sale is as it should be. For a product that should have stock, compare GET /v1/products/{productId}/stock with its movements.',
          emptyUntil: 'no reservation was refused',
        },
        {
          title: 'Time to reserve',
          unit: 's',
          lines: median99('function_duration_seconds{function="reserve-stock"}'),
          help: 'In the function alone. 99 % within 250 ms is the objective. Compare with the time in the queue below: docs/runbooks/latency-burn.md.',
        },
        {
          title: 'Time to confirm a sale',
          unit: 's',
          lines: median99('function_duration_seconds{function="confirm-reservation"}'),
          help: 'As for reservations. Slow only here: the reservation’s products are being changed in bulk, by a count or an import.',
        },
        {
          title: 'Answers to reservations and sales',
          unit: 'reqps',
          lines: {
            '{{function}} {{status}}': rate(
              'function_duration_seconds_count{function=~"reserve-stock|confirm-reservation"}',
              'function, status',
            ),
          },
          help: '201 and 200 are done, 409 refused. 503 is the primary or too much at once: docs/runbooks/primary-down.md, docs/runbooks/hot-product.md.',
        },
      ],
    },
    {
      title: 'Contention',
      of: 'reserve-stock|confirm-reservation|release-reservation|adjust-stock|adjust-stocks',
      panels: [
        {
          title: 'Requests in one transaction',
          unit: 'short',
          lines: median99('group_commit_batch_size'),
          help: 'Batches grow with load, which is how a hot product is served. At 256 they are full, and the queue grows instead.',
        },
        {
          title: 'Wait for a transaction',
          unit: 's',
          lines: { '{{group}} 99 %': quantile(0.99, 'group_commit_wait_seconds', 'group') },
          help: 'The largest part of a slow reservation under load. Above a second, products are hotter than one primary serves: docs/runbooks/hot-product.md.',
        },
        {
          title: 'Time of a transaction',
          unit: 's',
          lines: { '{{group}} 99 %': quantile(0.99, 'group_commit_transaction_seconds', 'group') },
          help: 'Locks, statements and the flush of the log. Slow with small batches: the primary’s disk, or another session that holds the lock (pg_stat_activity, wait_event_type Lock).',
        },
        {
          title: 'Requests that wait for a transaction',
          unit: 'short',
          lines: { '{{group}}': 'sum by (group) (group_commit_queue_length)' },
          help: 'The queue is bounded; when it is full, requests get 503. If it is long while the rate is low, a transaction hangs: docs/runbooks/hot-product.md.',
        },
        {
          title: 'Transactions run again',
          unit: 'ops',
          lines: { '{{reason}}': rate('database_transaction_retries_total', 'reason') },
          help: 'lock_not_available is contention, schema_changed a migration. deadlock_detected should not be: find the two statements in PostgreSQL’s log.',
          emptyUntil: 'no transaction was run again',
        },
        {
          title: 'Batches run one by one',
          unit: 'ops',
          lines: { '{{group}}': rate('group_commit_failed_batches_total', 'group') },
          help: 'A batch failed as a whole, and each of its requests got a transaction of its own, which is slow. The log says which error: look for it there.',
          emptyUntil: 'no batch has failed',
        },
      ],
    },
    {
      title: 'Products',
      of: 'reserve-stock|detect-low-stock|audit-stock|process-job',
      panels: [
        {
          title: 'Hot products, lines a minute',
          unit: 'short',
          lines: { '{{rank}}. {{sku}}': 'max by (rank, sku) (stock_hot_product_lines)' },
          help: 'The products with the most reservation lines of the last minute. One that stands out is a sale, or one holder: docs/runbooks/hot-product.md.',
        },
        {
          title: 'Products that are low or out',
          unit: 'short',
          lines: { '{{state}}': 'max by (state) (stock_low_products)' },
          help: 'A jump without sales is a wrong count or import: look at the movements of some of them, and at the last import job.',
        },
        {
          title: 'Audits in an hour',
          unit: 'short',
          lines: { '{{result}}': 'sum by (result) (increase(stock_audits_total[1h]))' },
          help: 'inconsistent: balances differ from the ledger or the holds, which is a defect, docs/runbooks/audit-inconsistent.md. None at all: audit-balances is down, or has so many products that it takes longer for all of them.',
        },
      ],
    },
  ],
}
