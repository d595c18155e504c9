import { randomBytes } from 'node:crypto'
import type { Sql } from '#database'
import type { FunctionDefinition } from '#function'

/** The trace under which the tests call each function, which its events carry. */
const traces = new Map<FunctionDefinition, string>()

/** The `traceparent` of a test's call of a function. */
export function traceparentOf(definition: FunctionDefinition): string {
  const traceId = traces.get(definition) ?? randomBytes(16).toString('hex')
  traces.set(definition, traceId)
  return `00-${traceId}-${randomBytes(8).toString('hex')}-00`
}

/**
 * The types of the events that the tests had a function publish, by those that are still in the outbox. A job goes on with the trace of
 * the request that submitted it, so where there was one, it can't be told who has published what.
 */
export async function publishedBy(definition: FunctionDefinition, sql: Sql): Promise<string[]> {
  const trace = traces.get(definition) ?? ''
  const rows = await sql<Array<{ type: string }>>`
    select distinct type from outbox where substr(traceparent, 4, 32) = ${trace}
      and not exists (select from jobs where substr(traceparent, 4, 32) = ${trace})
    order by type`
  return rows.map(({ type }) => type)
}

/** Throws if a function has published an event of a type that is not in its `emits`. */
export async function requireDeclaredEvents(sql: Sql): Promise<void> {
  for (const definition of traces.keys()) {
    const { name, emits } = definition
    const undeclared = (await publishedBy(definition, sql)).filter(
      (type) => !emits.some((declared) => declared === type),
    )
    if (undeclared.length > 0) throw new Error(`${name} has published ${undeclared}, which is not in its emits`)
  }
}
