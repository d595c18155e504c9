// clients.scenario.ts compiles and runs this beside the client that openapi-typescript makes.
import createClient from 'openapi-fetch'
import type { paths } from './api.js'

const [, , baseUrl = '', key = ''] = process.argv
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } })

const sku = `TYPESCRIPT-${Date.now()}`
const created = await client.POST('/v1/products', { body: { sku, name: 'Tea pot', initialStock: 3 } })
if (!created.data) throw new Error(created.error.detail)
const held = await client.POST('/v1/reservations', { body: { lines: [{ productId: created.data.id, quantity: 2 }] } })
if (!held.data) throw new Error(held.error.detail)
const reservationId = held.data.id
const confirmed = await client.POST('/v1/reservations/{reservationId}/confirm', { params: { path: { reservationId } } })
const { error } = await client.POST('/v1/reservations', { body: { lines: [{ sku, quantity: 5 }] } })
// From the code, the compiler knows which other members exist.
if (error?.code !== 'insufficient_stock') throw new Error(`not short: ${JSON.stringify(error)}`)
for (const { requested, available } of error.shortages) console.log(confirmed.data?.state, requested, available)
