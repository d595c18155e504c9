// Separate from the status's schema, which the bundles of functions do not need.

/** The path at which a function's process reports its status, on its own port. The router has no such route. */
export const STATUS_PATH = '/-/status'
