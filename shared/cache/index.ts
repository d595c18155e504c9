export { cached } from './cached.ts'
export { closeCache } from './close.ts'
export { invalidate } from './invalidate.ts'
export type { CacheOptions } from './shared-loads.ts'
