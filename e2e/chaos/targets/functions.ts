/** The functions that the load calls and that faults may hit. The busiest has two processes. */
export const FUNCTIONS = [
  ...['reserve-stock', 'reserve-stock', 'confirm-reservation', 'release-reservation', 'extend-reservation'],
  ...['adjust-stock', 'count-stock', 'import-products', 'get-product', 'get-stock', 'get-reservation'],
  ...['query-availability', 'get-job'],
]

/** The functions that make products before the load and read everything at the end. */
export const OTHERS = [
  ...['create-product', 'create-webhook', 'list-movements', 'list-reservations', 'list-products', 'audit-stock'],
]

export const WORKERS = [
  ...['publish-events', 'detect-low-stock', 'notify-webhooks', 'dispatch-jobs', 'process-job', 'process-job'],
  ...['expire-reservations'],
]
