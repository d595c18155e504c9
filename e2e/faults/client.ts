import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { ADMIN_KEY } from '#testing'

/** A write that a client can repeat: the same path, body and key each time. */
export interface Write {
  path: string
  body: object
  key?: string
  /** Default: the admin key of every test. */
  apiKey?: string
}

export interface Answer {
  status: number
  /** The code of a problem document. */
  code: string | undefined
  /** The body, byte for byte. */
  text: string
  location: string | undefined
  /** The consistency token. It differs if the same answer is given again. */
  token: string | undefined
  isReplay: boolean
}

export interface Client {
  /** Returns undefined if no answer came: the process or the connection is gone, and nobody knows what was done. */
  send: (url: string, write: Write) => Promise<Answer | undefined>
  /** Sends a write, each time to the URL that `url` returns, until an answer does not ask to try again. Throws after 20 s. */
  sendUntilAnswered: (url: () => string, write: Write) => Promise<Answer>
  close: () => Promise<void>
}

/** A crashed database is back in a second. A client that waits this long has found a permanent failure. */
const PATIENCE_MS = 20_000
const PAUSE_MS = 50
const ANSWER_MAX_MS = 20_000

/** Makes a client with at most `connections` to each process that it writes to. */
export function createClient(connections: number): Client {
  const pools = new Map<string, Pool>()
  const poolOf = (url: string) => {
    const pool = pools.get(url) ?? new Pool(url, { connections, pipelining: 1, headersTimeout: ANSWER_MAX_MS })
    pools.set(url, pool)
    return pool
  }

  async function send(url: string, { path, body, key, apiKey = ADMIN_KEY }: Write): Promise<Answer | undefined> {
    const headers = {
      authorization: `Bearer ${apiKey}`,
      'content-type': 'application/json',
      ...(key !== undefined && { 'idempotency-key': key }),
    }
    try {
      const response = await poolOf(url).request({ path, method: 'POST', headers, body: JSON.stringify(body) })
      const text = await response.body.text()
      const { location, 'idempotent-replayed': replayed, 'consistency-token': token } = response.headers
      const { code } = JSON.parse(text) as { code?: string }
      return {
        status: response.statusCode,
        code,
        text,
        location: location?.toString(),
        token: token?.toString(),
        isReplay: replayed === 'true',
      }
    } catch (error) {
      if (isConnectionFailure(error)) return undefined
      throw error
    }
  }

  async function sendUntilAnswered(url: () => string, write: Write): Promise<Answer> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const answer = await send(url(), write)
      if (answer && answer.status !== 503 && answer.code !== 'request_in_progress') return answer
      if (performance.now() > deadline) {
        throw new Error(`${write.path} was not answered within ${PATIENCE_MS} ms: ${JSON.stringify(answer)}`)
      }
      await sleep(PAUSE_MS)
    }
  }

  return {
    send,
    sendUntilAnswered,
    close: async () => {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()))
    },
  }
}

function isConnectionFailure(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^(ECONN|EPIPE|UND_ERR_SOCKET)/.test(String(error.code))
}
