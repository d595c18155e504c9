/** What the load asks for, and what may be struck: two processes of the busiest. */
export const FUNCTIONS = [
  ...['reserve-stock', 'reserve-stock', 'confirm-reservation', 'release-reservation', 'extend-reservation'],
  ...['adjust-stock', 'count-stock', 'import-products', 'get-product', 'get-stock', 'get-reservation'],
  ...['query-availability', 'get-job'],
]

/** What makes products before, and looks at all in the end. */
export const OTHERS = [
  ...['create-product', 'create-webhook', 'list-movements', 'list-reservations', 'list-products', 'audit-stock'],
]

export const WORKERS = [
  ...['publish-events', 'detect-low-stock', 'notify-webhooks', 'dispatch-jobs', 'process-job', 'process-job'],
  ...['expire-reservations'],
]
