export { type CacheOptions, cached } from './cached.ts'
export { closeCache } from './close.ts'
export { invalidate } from './invalidate.ts'
