// Apart from the schema of what is there, which the bundles of functions do not need.

/** Where a function's process says how it does, on its own port. The router has no such route. */
export const STATUS_PATH = '/-/status'
