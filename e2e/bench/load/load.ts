import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { closeLater } from '../closing.ts'

export interface Job {
  /** Connections are opened to them in turn. */
  ports: number[]
  /** Each `{productId}` in it stands for a product. */
  path: string
  method?: 'GET' | 'POST'
  /** Headers that replace `headers` in a share of the requests. */
  some?: { percent: number; headers: Record<string, string> }
  headers: Record<string, string>
  /** The body of a POST; `{productId}` as in the path. Default: a reservation of one piece. */
  body?: string
  /**
   * Goes on with each reservation that was made, by its id and over the same connection: in this share of them. A request is then all of
   * them together, from the reservation to the end of the hold.
   */
  ending?: { confirmPercent: number; releasePercent: number; extendAndConfirmPercent: number }
  /** Sends an Idempotency-Key of its own with each request. */
  idempotencyPrefix?: string
  connections: number
  /** By number; each request picks one at random. */
  products: { first: number; count: number }
  warmSeconds: number
  seconds: number
  /** The status of a successful request. */
  expectedStatus: number
  /** Arrivals of an open loop. Undefined: a closed loop, as fast as answers come. */
  ratePerSecond?: number
  requestsMax?: number
}

export interface LoadResult {
  /** Answers of the expected status, within the measured seconds. */
  perSecond: number
  p50Ms: number
  p99Ms: number
  maxMs: number
  /** How often each status was answered, warming up included. */
  answers: Record<string, number>
  /** How many of them had another status than expected. */
  unexpected: number
  /** CPU time of the client for each request: it shares the cores with what it measures. */
  clientMicroseconds: number
  /** The ids that came with 201, warming up included; with `ending`, those of the reservations that were confirmed. */
  acknowledged: string[]
}

/** Runs a load in a process of its own. Throws when that fails: a connection is refused, or answers stay out. */
export async function runLoad(job: Job): Promise<LoadResult> {
  const child = fork(fileURLToPath(new URL('load-client.ts', import.meta.url)), {
    execArgv: ['--import', import.meta.resolve('tsx')],
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const exit = once(child, 'exit')
  const stop = closeLater(async () => {
    child.kill('SIGKILL')
    await exit
  })
  try {
    const result = once(child, 'message')
    child.send(job)
    const ended = exit.then(([code]) => {
      throw new Error(`the load client ended with ${code}`)
    })
    const [message] = await Promise.race([result, ended])
    return message as LoadResult
  } finally {
    await stop()
  }
}
