import { setTimeout as sleep } from 'node:timers/promises'
import * as undici from 'undici'
import { contractOf } from '#testing/contract'
import type { Attempt } from '../checks/history.ts'
import type { Target } from '../targets/target.ts'

export interface Request {
  /** The operation, as the OpenAPI document names it: `POST /v1/reservations/{reservationId}/confirm`. */
  operation: string
  /** The values of the parameters in its path, in order. */
  ids?: string[]
  query?: string
  body?: object | string
  key?: string
  token?: string | undefined
}

export interface Answer {
  status: number
  code: string | undefined
  text: string
  token: string | undefined
  isReplay: boolean
}

export const parsed = <Body>({ text }: Answer) => JSON.parse(text) as Body

export interface Client {
  /** Sends a request until an answer says what was done. Returns undefined if none came within two minutes. */
  decide: (request: Request) => Promise<Answer | undefined>
  /** Returns when the oldest request without an answer was sent. */
  oldestOpen: () => number | undefined
  close: () => Promise<void>
}

const CONNECTIONS = 32
/** More than the longest time-out of the functions that the load calls. */
const ANSWER_MS_MAX = 30_000
const PATIENCE_MS = 120_000
const RETRY_MS = 250

/** Makes a client of the target. It checks each answer against the target's OpenAPI document, and reports each attempt. */
export async function createClient(
  { url, key: apiKey }: Target,
  onAttempt: (attempt: Attempt) => void,
): Promise<Client> {
  const contradicts = contradictionOf(contractOf((await (await fetch(`${url}/openapi.json`)).json()) as object))
  const options = { connections: CONNECTIONS, pipelining: 1, headersTimeout: ANSWER_MS_MAX, bodyTimeout: ANSWER_MS_MAX }
  const dispatcher = new undici.Agent(options)

  const open = new Map<object, number>()

  async function send(request: Request, isFirst: boolean): Promise<Answer | undefined> {
    const { operation, ids = [], query = '', body, key, token } = request
    const [method = '', path = ''] = operation.split(' ')
    const left = [...ids]
    const filled = path.replaceAll(/\{\w+\}/g, () => left.shift() ?? '')
    const headers = {
      authorization: `Bearer ${apiKey}`,
      ...(body && { 'content-type': typeof body === 'string' ? 'application/x-ndjson' : 'application/json' }),
      ...(key !== undefined && { 'idempotency-key': key }),
      ...(token !== undefined && { 'consistency-token': token }),
    }
    const sent = typeof body === 'object' ? JSON.stringify(body) : (body ?? null)
    const startedAt = Date.now()
    open.set(request, startedAt)
    let wrong: string | undefined
    const answer = await undici
      .request(`${url}${filled}${query}`, { dispatcher, method: method as 'GET', headers, body: sent })
      .then(async ({ statusCode: status, headers: got, body: bytes }): Promise<Answer> => {
        const text = await bytes.text()
        const flat = Object.entries(got).flatMap(([name, value]) =>
          value ? [[name, String(value)] as [string, string]] : [],
        )
        wrong = contradicts({ method, path, status, headers: new Headers(flat), text })
        const code = status >= 400 ? (JSON.parse(text) as { code?: string }).code : undefined
        const isReplay = got['idempotent-replayed'] === 'true'
        return { status, code, text, token: got['consistency-token']?.toString(), isReplay }
      })
      .catch(() => undefined)
    const told = answer ? `${answer.status} ${answer.code ?? ''}`.trim() : 'none'
    open.delete(request)
    const contradiction = wrong === undefined ? {} : { contradiction: wrong }
    onAttempt({ operation, startedAt, endedAt: Date.now(), told, isFirst, ...contradiction })
    return answer
  }

  return {
    async decide(request) {
      const deadline = performance.now() + PATIENCE_MS
      for (let isFirst = true; ; isFirst = false) {
        const answer = await send(request, isFirst)
        if (answer && answer.status < 500 && answer.code !== 'request_in_progress') return answer
        if (performance.now() > deadline) return undefined
        await sleep(RETRY_MS)
      }
    },
    oldestOpen: () => (open.size > 0 ? Math.min(...open.values()) : undefined),
    close: () => dispatcher.destroy(),
  }
}

const contradictionOf = (check: ReturnType<typeof contractOf>) => (answered: Parameters<typeof check>[0]) => {
  try {
    check(answered)
    return undefined
  } catch (error) {
    return (error as Error).message.slice(0, 500)
  }
}
