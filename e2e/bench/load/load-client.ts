import { withTimeout } from '#async'
import { productId } from '../dataset.ts'
import { connect, type ParsedResponse } from './http-connection.ts'
import type { Job, LoadResult } from './load.ts'
import { quantile } from './statistics.ts'

/**
 * The load, in a separate process: it receives one job as a message, and sends one result as a message. It builds requests as strings
 * and parses answers from the sockets by hand, since it shares the machine's cores with the measured server.
 */
process.once('message', (job: Job) => {
  void run(job).then((result) => process.send?.(result, () => process.disconnect()))
})
// The process that sent the job is gone.
process.once('disconnect', () => process.exit())

/** How long answers may take after the last request. */
const DRAIN_MS = 15_000

async function run(job: Job): Promise<LoadResult> {
  const requestOf = requestMaker(job)
  const answers: Record<number, number> = {}
  const acknowledged: string[] = []
  const latencies: number[] = []
  const measuredFrom = performance.now() + job.warmSeconds * 1_000
  const until = measuredFrom + job.seconds * 1_000
  let measured = 0
  let unexpected = 0
  const note = ({ status, id }: ParsedResponse, since: number) => {
    const now = performance.now()
    answers[status] = 1 + (answers[status] ?? 0)
    if (status !== job.expectedStatus) unexpected++
    if (id !== undefined) acknowledged.push(id)
    if (status === job.expectedStatus && now >= measuredFrom && now < until) measured++
    if (since >= measuredFrom) latencies.push(now - since)
  }
  const connections = await Promise.all(
    Array.from({ length: job.connections }, (_, index) => connect(job.ports[index % job.ports.length] ?? 0)),
  )
  let cpu = process.cpuUsage()
  const cpuTimer = setTimeout(() => {
    cpu = process.cpuUsage()
  }, job.warmSeconds * 1_000)
  const end = job.ending && endingOf(job, job.ending)
  const send = async (connection: (typeof connections)[number], since: number) => {
    const made = await connection.send(requestOf())
    note(end && made.id !== undefined ? await end(connection, made.id) : made, since)
  }

  const work =
    job.ratePerSecond === undefined
      ? closedLoop(connections, send, until, job.requestsMax)
      : openLoop(connections, send, until, job.ratePerSecond)
  const limitMs = job.warmSeconds * 1_000 + job.seconds * 1_000 + DRAIN_MS
  await withTimeout(limitMs, work, () => new Error(`answers were still missing ${DRAIN_MS / 1_000} s after the end`))
  clearTimeout(cpuTimer)
  const { user, system } = process.cpuUsage(cpu)
  for (const connection of connections) connection.close()
  latencies.sort((a, b) => a - b)
  return {
    perSecond: measured / job.seconds,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    maxMs: latencies.at(-1) ?? Number.NaN,
    answers,
    unexpected,
    clientMicroseconds: (user + system) / Math.max(1, latencies.length),
    acknowledged,
  }
}

function requestMaker(job: Job): () => string {
  return job.method === 'GET' ? readMaker(job) : postMaker(job)
}

function readMaker({ path, products, headers, some }: Job): () => string {
  const linesOf = (all: Record<string, string>) =>
    Object.entries({ host: '127.0.0.1', ...all })
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')
  const lines = linesOf(headers)
  const others = linesOf({ ...headers, ...some?.headers })
  return () => {
    const number = products.first + Math.floor(Math.random() * products.count)
    const isOther = some !== undefined && Math.random() * 100 < some.percent
    return `GET ${path.replace('{productId}', productId(number))} HTTP/1.1\r\n${isOther ? others : lines}\r\n`
  }
}

function postMaker({ path, products, headers, idempotencyPrefix, body: template = RESERVATION }: Job): () => string {
  let count = 0
  const anyId = () => productId(products.first + Math.floor(Math.random() * products.count))
  const fill = (text: string) => text.replace(/\{productId\}/g, anyId)
  const lines = Object.entries({ host: '127.0.0.1', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  const length = fill(template).length
  const rest = `${lines.join('')}content-type: application/json\r\ncontent-length: ${length}\r\n`
  return () => {
    const key = idempotencyPrefix === undefined ? '' : `idempotency-key: ${idempotencyPrefix}-${++count}\r\n`
    return `POST ${fill(path)} HTTP/1.1\r\n${rest}${key}\r\n${fill(template)}`
  }
}

const RESERVATION = '{"lines":[{"productId":"{productId}","quantity":1}]}'

/** Ends a hold. Returns the answer to the last request. If all went well, its status is that of a created reservation. */
function endingOf({ headers }: Job, { releasePercent, extendAndConfirmPercent }: NonNullable<Job['ending']>) {
  const lines = Object.entries({ host: '127.0.0.1', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  const request = (id: string, what: string, body: string) =>
    `POST /v1/reservations/${id}/${what} HTTP/1.1\r\n${lines.join('')}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
  return async (connection: Connections[number], id: string): Promise<ParsedResponse> => {
    const chance = Math.random() * 100
    const isReleased = chance < releasePercent
    if (!isReleased && chance < releasePercent + extendAndConfirmPercent) {
      const extended = await connection.send(request(id, 'extend', '{"ttlSeconds":900}'))
      if (extended.status !== 200) return extended
    }
    const { status } = await connection.send(request(id, isReleased ? 'release' : 'confirm', '{}'))
    return status === 200 ? { status: 201, id: isReleased ? undefined : id } : { status, id: undefined }
  }
}

type Connections = Array<Awaited<ReturnType<typeof connect>>>
type Send = (connection: Connections[number], since: number) => Promise<void>

/** Every connection sends its next request as soon as it has the previous answer. */
async function closedLoop(connections: Connections, send: Send, until: number, requestsMax = Infinity): Promise<void> {
  let left = requestsMax
  await Promise.all(
    connections.map(async (connection) => {
      while (left-- > 0 && performance.now() < until) await send(connection, performance.now())
    }),
  )
}

/**
 * Requests arrive at random moments, `ratePerSecond` on average, whatever happens to earlier ones. If all connections are in use, a
 * request waits for one, and its latency counts from its arrival (no coordinated omission).
 */
function openLoop(connections: Connections, send: Send, until: number, ratePerSecond: number): Promise<void> {
  const idle = [...connections]
  const waiting: number[] = []
  const gap = () => (-Math.log(1 - Math.random()) * 1_000) / ratePerSecond
  let next = performance.now() + gap()
  return new Promise((resolve, reject) => {
    const serve = (connection: Connections[number]) => {
      const since = waiting.shift()
      if (since === undefined) {
        idle.push(connection)
        if (next >= until && idle.length === connections.length) resolve()
      } else send(connection, since).then(() => serve(connection), reject)
    }
    const tick = () => {
      for (const now = performance.now(); next <= now && next < until; next += gap()) waiting.push(next)
      while (waiting.length > 0 && idle.length > 0) serve(idle.pop() as Connections[number])
      // One millisecond is the shortest wait that frees the core for other processes. It is part of the latencies.
      if (next < until) setTimeout(tick, 1)
      else if (idle.length === connections.length) resolve()
    }
    tick()
  })
}
