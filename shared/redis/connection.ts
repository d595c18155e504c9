import { once } from 'node:events'
import { ConsecutiveBreaker, circuitBreaker, handleAll } from 'cockatiel'
import type { Redis } from 'ioredis'
import { fullJitter } from '#async'
import { gauge, inSpan, logger, tracing } from '#telemetry'
import { createFailureLog, isReplica } from './failures.ts'

/**
 * A nearby healthy Redis answers in well under a millisecond, but a busy process may see the answer a tenth of a second later. A slower Redis does
 * not help a read.
 */
const COMMAND_MAX_MS = 250
const CONNECT_MAX_MS = 1_000
/** Failures in a row that open the circuit breaker. After each pause it lets one call through. */
const FAILURES_MAX = 5
const PAUSE_MS = 1_000
const RECONNECT_MAX_MS = 1_000
/** The server may stay a replica for a while, and each write to it asks for a reconnection. */
const RECONNECT_PAUSE_MS = 1_000

const isOpen = gauge('redis_breaker_open', 'Whether the circuit breaker of Redis is open.')

export interface RedisConnection {
  /** A Lua script, which is loaded once and run atomically. */
  script: <Reply>(
    name: string,
    lua: string,
    keys: number,
  ) => (keys: string[], args: Array<string | number>) => Promise<Reply>
  /** `operation` names the command in spans. */
  call: <Reply>(operation: string, work: (redis: Redis) => Promise<Reply>) => Promise<Reply>
  close: () => Promise<void>
}

/**
 * One connection to Redis, opened when it is first used. A call fails within 250 ms, and at once while the circuit breaker is open: callers
 * continue without Redis. The commands of one turn of the event loop are sent together.
 *
 * @example
 * const redis = connectRedis(url)
 * const value = await redis.call('get', (client) => client.get('key'))
 */
export function connectRedis(url: string): RedisConnection {
  const logFailure = createFailureLog()
  const scripts = new Map<string, { lua: string; numberOfKeys: number }>()
  const breaker = createBreaker()
  const { hostname, port } = new URL(url)
  const server = { 'server.address': hostname, 'server.port': Number(port || 6379) }
  let opening: Promise<Redis> | undefined
  let isClosed = false
  let becoming: Promise<void> | undefined

  async function open(): Promise<Redis> {
    const redis = await createClient(url, logFailure)
    for (const [name, definition] of scripts) redis.defineCommand(name, definition)
    if (isClosed) redis.disconnect()
    return redis
  }

  function call<Reply>(operation: string, work: (redis: Redis) => Promise<Reply>): Promise<Reply> {
    if (!tracing()) return send(work)
    const attributes = { 'db.system.name': 'redis', 'db.operation.name': operation, ...server }
    return inSpan(operation, { kind: 'client', attributes }, () => send(work))
  }

  function send<Reply>(work: (redis: Redis) => Promise<Reply>): Promise<Reply> {
    return breaker.execute(async () => {
      opening ??= open()
      const redis = await opening
      if (redis.status !== 'ready') {
        becoming ??= becomeReady(redis)
        await becoming
      }
      try {
        return await work(redis)
      } catch (error) {
        if (!isClosed) logFailure(error as Error)
        throw error
      }
    })
  }

  /** All calls share one wait. The wait is bounded, because a Redis is not ready while it loads its data, however long that takes. */
  async function becomeReady(redis: Redis): Promise<void> {
    const signal = AbortSignal.timeout(COMMAND_MAX_MS)
    try {
      if (redis.status === 'wait') redis.connect().catch(() => {})
      else if (redis.status === 'reconnecting') throw new Error('there is no connection to Redis')
      await once(redis, 'ready', { signal })
    } finally {
      becoming = undefined
    }
  }

  return {
    script(name, lua, numberOfKeys) {
      scripts.set(name, { lua, numberOfKeys })
      type Command = (...args: Array<string | number>) => Promise<never>
      return (keys, args) =>
        call(name, (redis) => (redis as unknown as Record<string, Command>)[name]?.(...keys, ...args) as Promise<never>)
    },
    call,
    close: async () => {
      isClosed = true
      const redis = await opening
      redis?.disconnect()
    },
  }
}

/** Loads the driver here, so that a function without Redis does not load it: it takes a sixth of a function's start. */
async function createClient(url: string, logFailure: (error: Error) => void): Promise<Redis> {
  const { Redis } = await import('ioredis')
  let reconnectedAt = Number.NEGATIVE_INFINITY
  const redis = new Redis(url, {
    lazyConnect: true,
    // A command that can't be sent now is of no use later.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    enableAutoPipelining: true,
    // `mget` is already a batch: a pipeline would delay it by a turn, which cost a fifth of the rate with eight readers.
    autoPipeliningIgnoredCommands: ['mget'],
    commandTimeout: COMMAND_MAX_MS,
    connectTimeout: CONNECT_MAX_MS,
    // Gives up the connection to a server that has vanished.
    socketTimeout: 5_000,
    reconnectOnError(error) {
      if (!isReplica(error) || performance.now() - reconnectedAt < RECONNECT_PAUSE_MS) return false
      reconnectedAt = performance.now()
      return true
    },
    retryStrategy: (attempt) => fullJitter(attempt, { baseMs: 50, maxMs: RECONNECT_MAX_MS }),
  })
  // Calls get their own failures. Without a listener, a failure of the connection would end the process.
  redis.on('error', logFailure)
  return redis
}

function createBreaker() {
  const breaker = circuitBreaker(handleAll, {
    halfOpenAfter: PAUSE_MS,
    breaker: new ConsecutiveBreaker(FAILURES_MAX),
  })
  breaker.onBreak(() => {
    isOpen.set(1)
    logger().warn('Redis does not answer; going on without it')
  })
  breaker.onReset(() => {
    isOpen.set(0)
    logger().info('Redis answers again')
  })
  return breaker
}
