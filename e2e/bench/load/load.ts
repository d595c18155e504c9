import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { closeLater } from '../closing.ts'

export interface Job {
  /** The ports, to which connections are opened in turn. */
  ports: number[]
  /** The path. Each `{productId}` in it stands for a product. */
  path: string
  method?: 'GET' | 'POST'
  /** Headers that replace `headers` in a share of the requests. */
  some?: { percent: number; headers: Record<string, string> }
  headers: Record<string, string>
  /** The body of a POST; `{productId}` as in the path. Default: a reservation of one piece. */
  body?: string
  /**
   * Ends this share of the new reservations in each way, by id and over the same connection. Then all requests from the reservation to the
   * end of the hold count as one request.
   */
  ending?: { confirmPercent: number; releasePercent: number; extendAndConfirmPercent: number }
  /** Sends a new Idempotency-Key with each request. */
  idempotencyPrefix?: string
  connections: number
  /** The products by number. Each request picks one at random. */
  products: { first: number; count: number }
  warmSeconds: number
  seconds: number
  /** The status of a successful request. */
  expectedStatus: number
  /** The arrivals of an open loop. Undefined means a closed loop, as fast as answers come. */
  ratePerSecond?: number
  requestsMax?: number
}

export interface LoadResult {
  /** Answers with the expected status, within the measured seconds. */
  perSecond: number
  p50Ms: number
  p99Ms: number
  maxMs: number
  /** How often each status was answered, including the warm-up. */
  answers: Record<string, number>
  /** How many answers had a status other than expected. */
  unexpected: number
  /** CPU time of the client for each request: the client shares the cores with the measured server. */
  clientMicroseconds: number
  /** The ids in 201 answers, including the warm-up; with `ending`, the ids of the confirmed reservations. */
  acknowledged: string[]
}

/** Runs a load in a separate process. Throws if that fails, for example if a connection is refused or answers are missing. */
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
