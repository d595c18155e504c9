import { once } from 'node:events'
import { ConsecutiveBreaker, circuitBreaker, handleAll } from 'cockatiel'
import type { Redis } from 'ioredis'
import { fullJitter } from '#async'
import { gauge, logger } from '#telemetry'
import { createReasons, isOfReplica } from './failures.ts'

/**
 * A healthy Redis near by answers in well under a millisecond, but a process that is busy may notice it a tenth of a second later.
 * One that needs longer than this is no help to a read.
 */
const COMMAND_MAX_MS = 250
const CONNECT_MAX_MS = 1_000
/** After this many failures in a row nothing is asked of it, but for one try after each pause. */
const FAILURES_MAX = 5
const PAUSE_MS = 1_000
const RECONNECT_MAX_MS = 1_000
/** A replica behind the address may stay one for a while, and each write to it asks for another connection. */
const RECONNECT_PAUSE_MS = 1_000

const isOpen = gauge('redis_breaker_open', 'Whether Redis is left alone because it has failed.')

export interface RedisConnection {
  /** A Lua script: loaded once, run atomically. */
  script: <Reply>(
    name: string,
    lua: string,
    keys: number,
  ) => (keys: string[], args: Array<string | number>) => Promise<Reply>
  call: <Reply>(work: (redis: Redis) => Promise<Reply>) => Promise<Reply>
  close: () => Promise<void>
}

/**
 * One connection to Redis, made at the first use. A call fails within 250 ms, and at once while Redis is known not to answer: who
 * calls goes on without it. Commands of one turn of the event loop travel together.
 */
export function connectRedis(url: string): RedisConnection {
  const tell = createReasons()
  const scripts = new Map<string, { lua: string; numberOfKeys: number }>()
  const breaker = createBreaker()
  let opening: Promise<Redis> | undefined
  let isClosed = false
  let becoming: Promise<void> | undefined

  async function open(): Promise<Redis> {
    const redis = await createClient(url, tell)
    for (const [name, definition] of scripts) redis.defineCommand(name, definition)
    if (isClosed) redis.disconnect()
    return redis
  }

  function call<Reply>(work: (redis: Redis) => Promise<Reply>): Promise<Reply> {
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
        if (!isClosed) tell(error as Error)
        throw error
      }
    })
  }

  /** One wait for all who come meanwhile; bounded, since a Redis that loads its data is not ready for as long as that takes. */
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
        call((redis) => (redis as unknown as Record<string, Command>)[name]?.(...keys, ...args) as Promise<never>)
    },
    call,
    close: async () => {
      isClosed = true
      const redis = await opening
      redis?.disconnect()
    },
  }
}

/** The driver is loaded by those who use it: to have it costs a function a sixth of its start. */
async function createClient(url: string, tell: (error: Error) => void): Promise<Redis> {
  const { Redis } = await import('ioredis')
  let leftAt = Number.NEGATIVE_INFINITY
  const redis = new Redis(url, {
    lazyConnect: true,
    // What can't be sent now is of no use later.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    enableAutoPipelining: true,
    // One of these is many questions already. In a pipeline it would wait for another turn: with eight readers that took a fifth of the rate.
    autoPipeliningIgnoredCommands: ['mget'],
    commandTimeout: COMMAND_MAX_MS,
    connectTimeout: CONNECT_MAX_MS,
    // A peer that has vanished without a word: its connection is given up after this.
    socketTimeout: 5_000,
    reconnectOnError(error) {
      if (!isOfReplica(error) || performance.now() - leftAt < RECONNECT_PAUSE_MS) return false
      leftAt = performance.now()
      return true
    },
    retryStrategy: (attempt) => fullJitter(attempt, { baseMs: 50, maxMs: RECONNECT_MAX_MS }),
  })
  // Each call learns of its own failure; without a listener the connection's would end the process.
  redis.on('error', tell)
  return redis
}

function createBreaker() {
  const breaker = circuitBreaker(handleAll, {
    halfOpenAfter: PAUSE_MS,
    breaker: new ConsecutiveBreaker(FAILURES_MAX),
  })
  breaker.onBreak(() => {
    isOpen.set(1)
    logger().warn('Redis does not answer: going on without it')
  })
  breaker.onReset(() => {
    isOpen.set(0)
    logger().info('Redis answers again')
  })
  return breaker
}
