import type { ServerUrl } from './server-url.ts'

/**
 * What this service relies on, whatever the server's, the database's or the role's defaults are: statements outside of a transaction
 * see and change the latest, and values are written as they are read here.
 */
const pinned = {
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  IntervalStyle: 'postgres',
  bytea_output: 'hex',
  extra_float_digits: '1',
  array_nulls: 'on',
  transform_null_equals: 'off',
  row_security: 'on',
}

/** Those that a pooler keeps apart for each of its clients: https://www.pgbouncer.org/config.html#track_extra_parameters */
const tracked = { DateStyle: 'ISO, MDY', TimeZone: 'UTC', standard_conforming_strings: 'on' }

const bounds = {
  // Bounds for a stuck client or a stuck query; a request's own time-out (5 s by default) is the tighter one.
  statement_timeout: '10s',
  lock_timeout: '3s',
  idle_in_transaction_session_timeout: '10s',
  // What is asked for often is in memory, where a page found by index costs no more than the next one.
  random_page_cost: '1.1',
  jit: 'off',
}

/** What a connection tells the server at its start. A pooler refuses what it does not know, unless it is told to ignore it. */
export function startupParameters(
  { applicationName, options, schema, isPooled }: ServerUrl,
  { statementMaxMs, synchronousCommit }: { statementMaxMs: number; synchronousCommit: string | undefined },
): Record<string, string> {
  const base = { application_name: applicationName ?? 'stock-management', ...tracked }
  if (isPooled) return base
  return {
    ...base,
    ...pinned,
    ...bounds,
    statement_timeout: `${statementMaxMs}ms`,
    ...(synchronousCommit && { synchronous_commit: synchronousCommit }),
    ...(options && { options }),
    ...(schema && { search_path: `"${schema.replaceAll('"', '""')}"` }),
  }
}

/** What a transaction begins with: behind a pooler, the server's connection has not been told anything by this one. */
export function openingOf({ isPooled }: Pick<ServerUrl, 'isPooled'>, synchronousCommit?: string): string {
  const begin = 'begin isolation level read committed read write not deferrable'
  if (!isPooled) return begin
  const settings = { ...pinned, ...bounds, ...(synchronousCommit && { synchronous_commit: synchronousCommit }) }
  const locals = Object.entries(settings)
    .filter(([name]) => !name.startsWith('default_transaction'))
    .map(([name, value]) => `set local ${name} = '${value}'`)
  return [begin, ...locals].join('; ')
}

/** Settings by which values are read and written wrong, or not at all, where a role has another default and none can be sent. */
export const needed: Record<string, string> = {
  default_transaction_read_only: pinned.default_transaction_read_only,
  bytea_output: pinned.bytea_output,
  array_nulls: pinned.array_nulls,
}

/** A setting that tells whether the server has been told of the others. */
export const probe = { name: 'lock_timeout', value: bounds.lock_timeout }
