import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import postgres from 'postgres'
import { reserveAlone } from './one-transaction.ts'

/** A typical reservation endpoint: a handler, a pool of 16, one transaction per request, and nothing else. */
const POOL_MAX = 16

const sql = postgres(process.env.DATABASE_URL ?? '', { max: POOL_MAX, onnotice: () => {} })
const app = new Hono()

app.post('/v1/reservations', async (c) => {
  const { lines } = await c.req.json<{ lines: [{ productId: string; quantity: number }] }>()
  const [{ productId, quantity }] = lines
  const held = await reserveAlone(sql, productId, quantity, 'naive')
  if (!held) return c.json({ error: 'insufficient_stock' }, 409)
  return c.json({ id: held.reservationId, state: 'held', lines }, 201)
})

serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => {
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}` })}\n`)
})
