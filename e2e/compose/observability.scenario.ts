import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../infra/local/ports.ts'
import { createShopClient, type ShopClient } from './client.ts'
import { type Compose, engineMissing, newCompose } from './compose.ts'
import { newProduct } from './shop.ts'

// Follows one reservation from its request to its data in the stores, in a separate project with the smaller of the two profiles.

const missing = await engineMissing()
if (missing) process.stdout.write(`skipped: no container engine with Compose answers (${missing})\n`)

let compose: Compose
let client: ShopClient
let productId: string
/** The URL of each page. */
let prometheus: string
let jaeger: string
let victoriaLogs: string

/** A process sends spans after 5 s, and the collector decides 10 s after a trace's first span and stores within 1 s. This is twice that time. */
const IN_QUEUE_MS = 32_000

const eventually = <T>(check: () => Promise<T>) => expect.poll(check, { timeout: 90_000, interval: 1_000 })

async function ask(url: string, query: Record<string, string> = {}): Promise<string> {
  const response = await fetch(`${url}?${new URLSearchParams(query)}`)
  return response.text()
}

/** Reserves one piece under a new trace, and returns the ids of the trace and the request. */
async function reserve(): Promise<{ traceId: string; requestId: string }> {
  const traceId = randomBytes(16).toString('hex')
  const requestId = `observed-${traceId.slice(0, 8)}`
  const headers = {
    authorization: `Bearer ${compose.key}`,
    'content-type': 'application/json',
    'idempotency-key': `secret-${traceId}`,
    'request-id': requestId,
    traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-01`,
  }
  const body = JSON.stringify({ lines: [{ productId, quantity: 1 }] })
  const response = await fetch(`${compose.url}/v1/reservations`, { method: 'POST', headers, body })
  expect(response.status).toBe(201)
  return { traceId, requestId }
}

const storedTrace = (traceId: string) => ask(`${jaeger}/api/traces/${traceId}`)
const storedLines = (traceId: string) =>
  ask(`${victoriaLogs}/select/logsql/query`, { query: `trace_id:"${traceId}"`, limit: '100' })
const inPrometheus = async (path: string, query: Record<string, string>) =>
  JSON.parse(await ask(`${prometheus}/api/v1/${path}`, query)).data

describe.skipIf(missing !== undefined)('observability', () => {
  beforeAll(async () => {
    const names = ['PROMETHEUS_PORT', 'ALERTMANAGER_PORT', 'JAEGER_PORT', 'VICTORIA_LOGS_PORT'] as const
    const ports = Object.fromEntries(await Promise.all(names.map(async (name) => [name, String(await freePort())])))
    compose = await newCompose({ COMPOSE_PROFILES: 'observability-lite', ...ports })
    client = createShopClient(compose.url, compose.key, 4)
    const at = (name: (typeof names)[number]) => `http://127.0.0.1:${ports[name]}`
    prometheus = at('PROMETHEUS_PORT')
    jaeger = at('JAEGER_PORT')
    victoriaLogs = at('VICTORIA_LOGS_PORT')
  })
  afterAll(async () => {
    await client.close()
    await compose.run('down', '--volumes', '--timeout', '5')
  })

  it('starts beside the service, and Prometheus reaches everything that it scrapes, and its Alertmanager', async () => {
    await compose.run('up', '--detach', '--wait', '--wait-timeout', '300', '--build')
    productId = await newProduct(client, 1_000)
    const unwell = async () => {
      const { activeTargets } = await inPrometheus('targets', { state: 'active' })
      const targets = activeTargets as Array<{ health: string; labels: Record<string, string>; lastError: string }>
      expect(targets.length).toBeGreaterThan(0)
      return targets.filter(({ health }) => health !== 'up').map(({ labels, lastError }) => [labels, lastError])
    }
    await eventually(unwell).toEqual([])
    const { activeAlertmanagers } = await inPrometheus('alertmanagers', {})
    expect(activeAlertmanagers).toHaveLength(1)
    const primary = async () =>
      (await inPrometheus('query', { query: 'pg_up' })).result.map(({ value }: { value: string[] }) => value[1])
    await eventually(primary).toEqual(['1', '1'])
  })

  it('has a trace, a line of the log and an exemplar of one reservation, and no secret in any', async () => {
    const { traceId, requestId } = await reserve()
    await eventually(() => storedTrace(traceId)).toContain('"reserve-stock"')
    await eventually(() => storedLines(traceId)).toContain(requestId)
    const trace = await storedTrace(traceId)
    const lines = await storedLines(traceId)
    const line = lines
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text))
      .find(({ request_id }) => request_id === requestId)
    expect(line).toMatchObject({
      _msg: 'request',
      severity_text: 'info',
      'service.name': 'reserve-stock',
      status: '201',
      route: '/v1/reservations',
    })
    // The log line says which span of the trace it belongs to.
    expect(trace).toContain(`"spanID":"${line.span_id}"`)
    const now = Date.now() / 1_000
    const range = { start: String(now - 600), end: String(now + 60) }
    const query = 'function_duration_seconds_bucket{function="reserve-stock"}'
    const exemplars = async () => JSON.stringify(await inPrometheus('query_exemplars', { query, ...range }))
    await eventually(exemplars).toContain(traceId)
    const calls = async () =>
      (await inPrometheus('query', { query: 'traces_span_metrics_calls_total{service_name="reserve-stock"}' })).result
    await eventually(calls).not.toEqual([])
    for (const text of [trace, lines]) {
      expect(text).not.toContain(compose.key)
      expect(text).not.toContain(`secret-${traceId}`)
    }
  })

  it('goes on while its stores and the collector are away, and the stores get what the collector kept for them', async () => {
    await compose.run('stop', 'jaeger', 'victoria-logs')
    const kept = await reserve()
    // Until then, the queue may contain other traces but not this one.
    await sleep(IN_QUEUE_MS)
    const waiting = async () =>
      (await inPrometheus('query', { query: 'min(otelcol_exporter_queue_size)' })).result[0]?.value[1]
    await eventually(async () => Number(await waiting())).toBeGreaterThan(0)
    await compose.run('kill', 'otel-collector-lite')
    await reserve()
    await compose.run('start', 'otel-collector-lite', 'jaeger', 'victoria-logs')
    await eventually(() => storedTrace(kept.traceId)).toContain('"reserve-stock"')
    await eventually(() => storedLines(kept.traceId)).toContain(kept.requestId)
  })
})
