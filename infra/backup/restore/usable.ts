import { randomUUID } from 'node:crypto'
import { systemContext } from '#database'
import { createProduct } from '#products'
import { CreateProductRequest } from '#products/schema'
import { reserve } from '#stock'
import { ReserveRequest } from '#stock/schema'
import type { Connection } from '../../local/postgres/sql.ts'
import { atDatabase } from './at-database.ts'

/** The migrations that a database has had for so many hours. */
export async function migrationsOf(sql: Connection, hours = 0): Promise<string[]> {
  const rows = await sql<Array<{ name: string }>>`
    select name from schema_migrations where applied_at <= now() - ${hours}::int * interval '1 hour' order by name`
  return rows.map(({ name }) => name)
}

/**
 * What of this release's migrations a restored database lacks, and what may be so. Not lost is what the server, if it is known, lacks as well; and functions of the release before run on a schema that is newer than they are: docs/decisions/0028.
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

/** Holds a piece of a product that it makes for that, by what the functions do it by. Throws where it can't. The database is to be thrown away. */
export async function holdReservation(url: string): Promise<void> {
  const context = systemContext('operator:drill')
  await atDatabase(url, async () => {
    const request = CreateProductRequest.parse({ sku: `drill-${randomUUID()}`, name: 'Drill', initialStock: 1 })
    const { product } = await createProduct(request, context)
    await reserve(ReserveRequest.parse({ lines: [{ productId: product.id, quantity: 1 }] }), context)
  })
}

/** When the newest write of a client was made, a hold or one with an idempotency key; null where there was none. */
export async function newestWrite(sql: Connection): Promise<Date | null> {
  const [row] = await sql<[{ at: Date | null }]>`
    select greatest(
      (select created_at from reservations order by id desc limit 1),
      (select max(created_at) from idempotency_keys)
    ) as at`
  return row.at
}
