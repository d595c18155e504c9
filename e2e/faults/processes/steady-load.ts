import { setTimeout as sleep } from 'node:timers/promises'
import type { Reservation } from '#stock/schema'
import { ADMIN_KEY } from '#testing'
import type { Client } from '../client.ts'
import type { Answered } from './crash-load.ts'

export interface SteadyLoad {
  /** Every answered write, for crash-checks.ts. */
  answered: Answered[]
  /** Requests that were not answered correctly at the first try: no answer, 503, or a read of something else. */
  failures: string[]
  /** Resolves once `count` more writes have been answered. Throws after a minute. */
  answers: (count: number) => Promise<void>
  stop: () => Promise<void>
}

interface Options {
  client: Client
  productIds: string[]
  /** Returns the current URLs of a function's processes. Requests go to them in turn. */
  urlsOf: (functionName: string) => string[]
  /** Whether the content of a read is right. If not, the read counts as failed. */
  isRight?: (product: { id: string; description: string | null }) => boolean
  /** Additional reads of these functions. Each answer must be 200. */
  reads?: ReadonlyArray<readonly [functionName: string, path: string]>
  clients?: number
  /** The API key to send. Default: the admin key of every test. */
  key?: () => string
}

/** The pause of each client after a write: processes that start and end meanwhile need the machine too. */
const PAUSE_MS = 10
const ANSWERS_WAIT_MS = 60_000
/** No test lasts for this many turns of a client. */
const TURNS_MAX = 20_000

/**
 * Holds, sells, receives and reads from now on. Each client sends one request after the other, each to another process. A write without
 * an answer is sent again with its key, as clients do, but still counts as a failure.
 */
export function startSteadyLoad(options: Options): SteadyLoad {
  const { client, productIds, urlsOf, isRight = () => true, reads = [], clients = 4 } = options
  const { key: apiKey = () => ADMIN_KEY } = options
  const answered: Answered[] = []
  const failures: string[] = []
  const waiting = new Set<{ from: number; resolve: () => void }>()
  let isOn = true
  let turns = 0

  const urlOf = (functionName: string) => () => {
    const urls = urlsOf(functionName)
    return urls[turns++ % urls.length] ?? ''
  }

  async function write(kind: Answered['kind'], functionName: string, path: string, body: object, key: string) {
    const request = { path, body, key, apiKey: apiKey() }
    const url = urlOf(functionName)
    const first = await client.send(url(), request)
    if (!first || first.status >= 300) failures.push(`${functionName}: ${first ? first.text : 'no answer'}`)
    const answer = first && first.status < 500 ? first : await client.sendUntilAnswered(url, request)
    answered.push({ kind, functionName, write: request, answer })
    for (const wait of waiting) if (answered.length >= wait.from) wait.resolve()
    await sleep(PAUSE_MS)
    return answer
  }

  /** Returns the body if the request has succeeded. */
  async function read(functionName: string, path: string): Promise<unknown> {
    const url = `${urlOf(functionName)()}${path}`
    const response = await fetch(url, { headers: { authorization: `Bearer ${apiKey()}` } }).catch((error) => error)
    const body = response instanceof Response ? await response.text() : String(response.cause ?? response)
    if (response.status === 200) return JSON.parse(body)
    failures.push(`${functionName}: ${body}`)
    return undefined
  }

  async function readProduct(productId: string): Promise<void> {
    const product = (await read('get-product', `/v1/products/${productId}`)) as
      | Parameters<typeof isRight>[0]
      | undefined
    const isOther = product && (product.id !== productId || !isRight(product))
    if (isOther) failures.push(`get-product: ${JSON.stringify(product)}`)
  }

  async function run(name: string): Promise<void> {
    for (let turn = 0; isOn && turn < TURNS_MAX; turn++) {
      const productId = productIds[(turn + Number(name)) % productIds.length] ?? ''
      const key = (step: string) => `${name}-${turn}-${step}`
      const body = { lines: [{ productId, quantity: 1 }], reference: key('hold') }
      const held = await write('reserve', 'reserve-stock', '/v1/reservations', body, key('hold'))
      const received = { quantity: 1, reason: 'received', reference: key('adjust') }
      await write('adjust', 'adjust-stock', `/v1/products/${productId}/stock/adjustments`, received, key('adjust'))
      await readProduct(productId)
      for (const [functionName, path] of reads) await read(functionName, path)
      if (held.status !== 201) continue
      const { id } = JSON.parse(held.text) as Reservation
      const end = turn % 3 === 0 ? 'release' : 'confirm'
      await write(end, `${end}-reservation`, `/v1/reservations/${id}/${end}`, {}, key(end))
    }
  }

  const running = Promise.all(Array.from({ length: clients }, (_, index) => run(String(index))))
  return {
    answered,
    failures,
    answers(count) {
      const reached = new Promise<void>((resolve, reject) => {
        const from = answered.length + count
        const wait = { from, resolve }
        waiting.add(wait)
        setTimeout(
          () => reject(new Error(`${from - answered.length} of ${count} answers lack`)),
          ANSWERS_WAIT_MS,
        ).unref()
      })
      return Promise.race([reached, running.then(() => Promise.reject(new Error('the load has ended')))])
    },
    async stop() {
      isOn = false
      await running
    },
  }
}

/** The functions that the load calls. */
export const LOADED = ['reserve-stock', 'confirm-reservation', 'release-reservation', 'adjust-stock', 'get-product']
