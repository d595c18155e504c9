import { randomBytes } from 'node:crypto'
import type { Sql } from '#database'
import type { FunctionDefinition } from '#function'

/** The trace under which the tests call each function. The function's events carry it. */
const traces = new Map<FunctionDefinition, string>()

/** Returns the `traceparent` for a test's calls of a function. */
export function traceparentOf(definition: FunctionDefinition): string {
  const traceId = traces.get(definition) ?? randomBytes(16).toString('hex')
  traces.set(definition, traceId)
  return `00-${traceId}-${randomBytes(8).toString('hex')}-00`
}

/**
 * Returns the types of the events that a function has published in the tests, as far as they are still in the outbox. A job continues the
 * trace of the request that submitted it, so if there was a job, nobody can tell which function has published which event.
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
