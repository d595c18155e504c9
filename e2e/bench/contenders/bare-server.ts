import { serve } from '@hono/node-server'
import { Hono } from 'hono'

/** The least that a handler can do: it answers with a product that it has in memory. */
const product = JSON.parse(process.env.PRODUCT ?? '{}')
const app = new Hono()

app.get('/v1/products/:productId', (c) => c.json(product))

serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => {
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}` })}\n`)
})
