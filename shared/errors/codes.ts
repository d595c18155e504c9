/**
 * Every code that a client can get, with the status of its answer. This is the only place that joins the two. A code is part of the contract:
 * renaming a code breaks clients.
 */
export const statusOf = {
  malformed_json: 400,
  malformed_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  product_not_found: 404,
  reservation_not_found: 404,
  job_not_found: 404,
  location_not_found: 404,
  webhook_not_found: 404,
  api_key_not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  sku_taken: 409,
  location_code_taken: 409,
  has_held_reservations: 409,
  insufficient_stock: 409,
  product_archived: 409,
  limit_exceeded: 409,
  count_below_reserved: 409,
  stale_quantity: 409,
  not_held: 409,
  hold_limit_reached: 409,
  reservation_expired: 409,
  last_admin_key: 409,
  too_many_webhooks: 409,
  too_many_jobs: 409,
  request_in_progress: 409,
  // No client of the service gets this code: it is the answer of a webhook's receiver.
  webhook_gone: 410,
  version_mismatch: 412,
  too_large: 413,
  unsupported_media_type: 415,
  // A client gets it for a host that is not served. If the router gets it, it has asked the wrong process, and asks another one.
  misdirected_request: 421,
  validation_failed: 422,
  idempotency_key_reused: 422,
  rate_limited: 429,
  headers_too_large: 431,
  // The client is gone. The status is nginx's, and is for the metrics.
  client_closed_request: 499,
  internal: 500,
  bad_gateway: 502,
  overloaded: 503,
  busy: 503,
  unavailable: 503,
  not_ready: 503,
  gateway_timeout: 504,
} as const satisfies Record<string, number>

export type ErrorCode = keyof typeof statusOf

const refusals: ReadonlySet<string> = new Set<ErrorCode>(['overloaded', 'busy', 'unavailable'])

/** Whether a code means that a request was turned away for the moment, by design, because there is too much to do or something is away. */
export function isRefusal(code: string): boolean {
  return refusals.has(code)
}
