import * as z from 'zod'
import {
  type Page,
  type PageRequest,
  type RequestContext,
  read,
  readPage,
  type Sql,
  transaction,
  violatedConstraint,
} from '#database'
import { notFound, ServiceError } from '#errors'
import type { CreateLocationRequest, Location } from '../schema.ts'

interface LocationRow extends Omit<Location, 'createdAt'> {
  createdAt: Date
}

const toLocation = (row: LocationRow): Location => ({ ...row, createdAt: row.createdAt.toISOString() })

/** Throws `location_code_taken`. */
export function createLocation(
  request: z.infer<typeof CreateLocationRequest>,
  context: RequestContext,
): Promise<Location> {
  return transaction(context, async (tx) => {
    try {
      const [row] = await tx<[LocationRow]>`
        insert into locations (code, name, priority) values (${request.code}, ${request.name}, ${request.priority})
        returning code, name, priority, created_at as "createdAt"`
      return toLocation(row)
    } catch (error) {
      if (violatedConstraint(error) !== 'locations_pkey') throw error
      throw new ServiceError('location_code_taken', `There is a location with the code '${request.code}' already.`)
    }
  })
}

/** Locations by allocation priority. */
export function listLocations(page: PageRequest, context: RequestContext): Promise<Page<Location>> {
  return readPage(page, context, {
    kind: 'locations',
    keys: z.tuple([z.number().int(), z.string()]),
    fetch: (after, limit) =>
      read(
        context,
        (sql) => sql<LocationRow[]>`
          select code, name, priority, created_at as "createdAt" from locations
          where ${after ? sql`(priority, code) > (${after[0]}, ${after[1]})` : sql`true`}
          order by priority, code limit ${limit}`,
      ),
    keysOf: (row): [number, string] => [row.priority, row.code],
    toItem: toLocation,
  })
}

/** Throws `location_not_found` for the first code that names no location. */
export async function requireLocations(tx: Sql, codes: readonly string[]): Promise<void> {
  const asked = [...new Set(codes)]
  if (asked.length === 0) return
  const rows = await tx<Array<{ code: string }>>`select code from locations where code = any(${asked}::text[])`
  const missing = asked.find((code) => !rows.some((row) => row.code === code))
  if (missing !== undefined) throw notFound('location', missing, 'code')
}
