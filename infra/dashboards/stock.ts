import type { Board } from './dashboard.ts'
import { median99, quantile, rate } from './promql.ts'

/** Reservations and sales, and what contention for products costs them. */
export const stock: Board = {
  title: 'Stock',
  name: 'stock',
  rows: [
    {
      title: 'Reservations and sales',
      of: 'reserve-stock|confirm-reservation|release-reservation|expire-reservations',
      panels: [
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
          help: 'lock_not_available is contention, connection failures a primary that goes away. Deadlocks should not be: find the two statements in PostgreSQL’s log.',
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
          title: 'Products that are low or out',
          unit: 'short',
          lines: { '{{state}}': 'max by (state) (stock_low_products)' },
          help: 'A jump without sales is a wrong count or import: look at the movements of some of them, and at the last import job.',
        },
      ],
    },
  ],
}
