import type { ServerUrl } from '../servers/server-url.ts'

/**
 * Settings that this service relies on, whatever the defaults of the server, the database and the role. They are for statements outside of a
 * transaction, and for the text format of values.
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

/** Settings that a pooler tracks for each of its clients: https://www.pgbouncer.org/config.html#track_extra_parameters */
const tracked = { DateStyle: 'ISO, MDY', TimeZone: 'UTC', standard_conforming_strings: 'on' }

const bounds = {
  // For a stuck client or query. A request's own time-out, 5 s by default, is tighter.
  statement_timeout: '10s',
  lock_timeout: '3s',
  idle_in_transaction_session_timeout: '10s',
  // Hot pages are in memory, where reading a random page costs hardly more than reading the next one.
  random_page_cost: '1.1',
  jit: 'off',
}

/** The parameters of a connection's start-up message. A pooler refuses parameters that it does not know. */
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

/** The statements that begin a transaction. Behind a pooler they include the settings, which the server connection does not have. */
export function openingOf({ isPooled }: Pick<ServerUrl, 'isPooled'>, synchronousCommit?: string): string {
  const begin = 'begin isolation level read committed read write not deferrable'
  if (!isPooled) return begin
  const settings = { ...pinned, ...bounds, ...(synchronousCommit && { synchronous_commit: synchronousCommit }) }
  const locals = Object.entries(settings)
    .filter(([name]) => !name.startsWith('default_transaction'))
    .map(([name, value]) => `set local ${name} = '${value}'`)
  return [begin, ...locals].join('; ')
}

/** Settings that the role must have if a pooler does not pass any on: other values break reads or writes. */
export const needed: Record<string, string> = {
  default_transaction_read_only: pinned.default_transaction_read_only,
  bytea_output: pinned.bytea_output,
  array_nulls: pinned.array_nulls,
}

/** The setting that shows whether the server has received the start-up parameters. */
export const probe = { name: 'lock_timeout', value: bounds.lock_timeout }
