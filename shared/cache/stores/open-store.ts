import { onShutdown } from '#async'
import { cacheSettings, connectRedis } from '#redis'
import { createMemoryStore } from './memory-store.ts'
import { createRedisStore } from './redis-store.ts'
import type { CacheStore } from './store.ts'

let opened: { store: CacheStore | undefined } | undefined

/** The store of this process, opened at the first call; undefined if none is configured. */
export function openStore(): CacheStore | undefined {
  opened ??= { store: create() }
  return opened.store
}

function create(): CacheStore | undefined {
  const { CACHE_URL } = cacheSettings()
  if (CACHE_URL === undefined) return undefined
  onShutdown(closeStore)
  return CACHE_URL === 'memory:' ? createMemoryStore() : createRedisStore(connectRedis(CACHE_URL))
}

export async function closeStore(): Promise<void> {
  const closing = opened?.store?.close()
  opened = undefined
  await closing
}
