// Medusa's inventory module behind the thinnest possible handler. Runs in a separate folder with its packages.
import { createServer } from 'node:http'
import { MedusaApp, MedusaAppMigrateUp } from '@medusajs/framework/modules-sdk'
import { Modules } from '@medusajs/framework/utils'

// Medusa resolves its providers from the current folder.
process.chdir(import.meta.dirname)

const LOCATION = 'main'
const POOL_MAX = 16

const database = { clientUrl: process.env.DATABASE_URL, pool: { min: 1, max: POOL_MAX } }

// A pool for each: a lock is held on one connection while its job needs another, and in one pool of any size requests
// that wait for the lock would keep the one that has it waiting for a connection.
const options = () => ({
  sharedResourcesConfig: { database },
  modulesConfig: {
    [Modules.INVENTORY]: { resolve: '@medusajs/inventory', options: { database } },
    [Modules.LOCKING]: {
      resolve: '@medusajs/locking',
      options: {
        database,
        providers: [
          { resolve: '@medusajs/locking-postgres', id: 'locking-postgres', is_default: true, options: { database } },
        ],
      },
    },
  },
  cwd: import.meta.dirname,
})

await MedusaAppMigrateUp(options())
const { modules, onApplicationStart } = await MedusaApp(options())
await onApplicationStart()
const inventory = modules[Modules.INVENTORY]
const locking = modules[Modules.LOCKING]

const routes = {
  '/v1/reservations': ({ lines: [{ productId, quantity }] }) =>
    // What the reserve-inventory step of Medusa's cart does; createReservationItems refuses what is not available.
    locking.execute([productId], async () => {
      const line = { inventory_item_id: productId, location_id: LOCATION, quantity }
      const [reservation] = await inventory.createReservationItems([line])
      return { id: reservation.id, state: 'held', lines: [{ productId, quantity }] }
    }),
  '/items': async ({ items }) => {
    await inventory.createInventoryItems(items.map(({ id, sku }) => ({ id, sku })))
    await inventory.createInventoryLevels(
      items.map(({ id, stocked }) => ({ inventory_item_id: id, location_id: LOCATION, stocked_quantity: stocked })),
    )
    return {}
  },
}

const server = createServer(async (req, res) => {
  const chunks = []
  for await (const chunk of req) chunks.push(chunk)
  try {
    send(res, 201, await routes[req.url](JSON.parse(Buffer.concat(chunks).toString())))
  } catch (error) {
    const status = error.type === 'not_allowed' ? 409 : 500
    if (status === 500) process.stderr.write(`${error.stack}\n`)
    send(res, status, { error: error.message })
  }
})

function send(res, status, body) {
  const text = JSON.stringify(body)
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text)
}

server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })}\n`)
})
