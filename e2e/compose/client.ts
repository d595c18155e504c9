import { setTimeout as sleep } from 'node:timers/promises'
import * as undici from 'undici'

export interface ShopResponse {
  status: number
  code: string | undefined
  body: Record<string, unknown>
  token: string | undefined
}

export interface ShopRequest {
  method: 'GET' | 'POST'
  path: string
  body?: object
  key?: string
  token?: string | undefined
}

export interface ShopClient {
  /** Returns undefined if no answer came: the connection broke, and nobody knows what was done. */
  send: (request: ShopRequest) => Promise<ShopResponse | undefined>
  /** Sends a request repeatedly, as a client should, until an answer says what was done. Throws after a minute. */
  sendUntilAnswered: (request: ShopRequest) => Promise<ShopResponse>
  /** How often each answer was given: `201`, `503 unavailable`, `none`. */
  answers: Map<string, number>
  close: () => Promise<void>
}

/** A killed engine is up again after some seconds. */
const PATIENCE_MS = 60_000
const PAUSE_MS = 100
const ANSWER_MS_MAX = 15_000

/** Answers that ask for a retry: https://www.rfc-editor.org/rfc/rfc9110#name-server-error-5xx and one code of our own. */
const isUndecided = (answer: ShopResponse | undefined) =>
  !answer || [502, 503, 504].includes(answer.status) || answer.code === 'request_in_progress'

export function createShopClient(url: string, apiKey: string, connections: number): ShopClient {
  const dispatcher = new undici.Agent({
    connections,
    pipelining: 1,
    headersTimeout: ANSWER_MS_MAX,
    bodyTimeout: ANSWER_MS_MAX,
  })
  const answers = new Map<string, number>()

  async function send({ method, path, body, key, token }: ShopRequest): Promise<ShopResponse | undefined> {
    const headers = {
      authorization: `Bearer ${apiKey}`,
      ...(body && { 'content-type': 'application/json' }),
      ...(key !== undefined && { 'idempotency-key': key }),
      ...(token !== undefined && { 'consistency-token': token }),
    }
    const options = { dispatcher, method, headers, body: body ? JSON.stringify(body) : null }
    const answer = await undici.request(`${url}${path}`, options).then(read, () => undefined)
    const name = answer ? `${answer.status} ${answer.code ?? ''}`.trim() : 'none'
    answers.set(name, 1 + (answers.get(name) ?? 0))
    return answer
  }

  async function sendUntilAnswered(request: ShopRequest): Promise<ShopResponse> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const answer = await send(request)
      if (answer && !isUndecided(answer)) return answer
      if (performance.now() > deadline) {
        throw new Error(
          `${request.method} ${request.path} has had no answer for ${PATIENCE_MS} ms: ${JSON.stringify(answer)}`,
        )
      }
      await sleep(PAUSE_MS)
    }
  }

  return { send, sendUntilAnswered, answers, close: () => dispatcher.destroy() }
}

async function read(response: Awaited<ReturnType<typeof undici.request>>): Promise<ShopResponse | undefined> {
  const text = await response.body.text().catch(() => undefined)
  if (text === undefined) return undefined
  const body = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
  const token = response.headers['consistency-token']?.toString()
  return { status: response.statusCode, code: typeof body.code === 'string' ? body.code : undefined, body, token }
}
