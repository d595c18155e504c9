import { randomUUID } from 'node:crypto'
import { systemContext } from '#database'
import { createProduct } from '#products'
import { CreateProductRequest } from '#products/schema'
import { reserve } from '#stock'
import { ReserveRequest } from '#stock/schema'
import type { Connection } from '../../local/postgres/sql.ts'
import { atDatabase } from './at-database.ts'

/** Returns the migrations that were applied to a database at least `hours` hours ago. */
export async function migrationsOf(sql: Connection, hours = 0): Promise<string[]> {
  const rows = await sql<Array<{ name: string }>>`
    select name from schema_migrations where applied_at <= now() - ${hours}::int * interval '1 hour' order by name`
  return rows.map(({ name }) => name)
}

/**
 * Compares the migrations of a restored database with those of this release. A migration that the server, if it is known, lacks as well is not
 * lost. Extra migrations are allowed: functions of the previous release run on a newer schema: docs/decisions/0028.
 */
export function compareMigrations(
  restored: readonly string[],
  release: readonly string[],
  server: readonly string[] | undefined,
): { findings: string[]; notes: string[] } {
  const lacking = release.filter((name) => !restored.includes(name))
  const lost = lacking.filter((name) => server?.includes(name) ?? true)
  const due = lacking.filter((name) => !lost.includes(name))
  const newer = restored.filter((name) => !release.includes(name))
  return {
    findings: lost.map((name) => `the schema lacks ${name}`),
    notes: [
      ...due.map((name) => `${name} is not in the archive or not applied yet: functions of this release need it`),
      ...newer.map((name) => `the schema has ${name}, of a newer release`),
    ],
  }
}

/** Makes a product and holds a piece of it, by the same code as the functions. Throws if it can't. The database must be one to throw away. */
export async function holdReservation(url: string): Promise<void> {
  const context = systemContext('operator:drill')
  await atDatabase(url, async () => {
    const request = CreateProductRequest.parse({ sku: `drill-${randomUUID()}`, name: 'Drill', initialStock: 1 })
    const { product } = await createProduct(request, context)
    await reserve(ReserveRequest.parse({ lines: [{ productId: product.id, quantity: 1 }] }), context)
  })
}

/** Returns the time of a client's newest write (a hold, or a write with an idempotency key), or null if there was none. */
export async function newestWrite(sql: Connection): Promise<Date | null> {
  const [row] = await sql<[{ at: Date | null }]>`
    select greatest(
      (select created_at from reservations order by id desc limit 1),
      (select max(created_at) from idempotency_keys)
    ) as at`
  return row.at
}
