export { connectRedis, type RedisConnection } from './connection.ts'
export { cacheSettings } from './settings.ts'
