import { withTimeout } from '#async'
import { requireReady } from '#function/readiness'
import { type Exchange, send } from '../exchange.ts'
import type { Route } from '../route.ts'
import { document, sendDocument } from './docs.ts'

/** A probe must get the reason before it gives up. Kubernetes gives up after 1 s by default. */
const READY_MS_MAX = 800

export type Readiness = () => Promise<Record<string, string>>

/** The routes for operators: health, readiness, and the OpenAPI document. */
export function operationRoutes(openapi: object, ready: Readiness): Route[] {
  const description = document('application/json', Buffer.from(JSON.stringify(openapi)))
  return [
    { method: 'GET', path: '/healthz', handle: (exchange) => sendStatus(exchange, 'ok') },
    { method: 'GET', path: '/readyz', handle: (exchange) => answerReadiness(exchange, ready) },
    { method: 'GET', path: '/openapi.json', handle: (exchange) => sendDocument(exchange, description, 'no-cache') },
  ]
}

async function answerReadiness(exchange: Exchange, ready: Readiness): Promise<void> {
  requireReady(await failingParts(ready))
  sendStatus(exchange, 'ready')
}

/** A check that throws or hangs counts as the failing part, so that a probe always gets an answer. */
async function failingParts(ready: Readiness): Promise<Record<string, string>> {
  try {
    return await withTimeout(READY_MS_MAX, ready(), () => new Error(`no answer within ${READY_MS_MAX} ms`))
  } catch (error) {
    return { readiness: error instanceof Error ? error.message : String(error) }
  }
}

function sendStatus(exchange: Exchange, status: string): void {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  send(exchange, 200, headers, JSON.stringify({ status }))
}
