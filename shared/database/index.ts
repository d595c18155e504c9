// More than fifteen names: all modules above read, write and page through this index, and each name is a separate promise.
export { closeDatabase } from './close.ts'
export type { Sql } from './connections/connect.ts'
export { primary } from './connections/connections.ts'
export { askPrimary } from './connections/servers/ask-primary.ts'
export { checkDatabase } from './connections/servers/health.ts'
export { requireSupportedServer } from './connections/servers/server-version.ts'
export { databaseSettings } from './connections/settings.ts'
export type { Decision, Member } from './group-commit/answers.ts'
export type { Group } from './group-commit/batch.ts'
export { groupCommit } from './group-commit/group-commit.ts'
export { migrate, migrationFiles } from './migrate.ts'
export { prune } from './prune.ts'
export { requireAskedFor } from './reads/asked-for.ts'
export { Cursor, type Page, PageQuery, type PageRequest, readPage } from './reads/page.ts'
export { read, readAsOf, readKey, scan } from './reads/read.ts'
export { snapshot } from './reads/snapshot.ts'
export { type RequestContext, type ResponseState, responseState, systemContext } from './request-context.ts'
export { isPaused, unresumed } from './restores.ts'
export { hasScope, lacking, requireScope, type Scope, scopes } from './scopes.ts'
export { afterCommit } from './transactions/attempt.ts'
export {
  isRefusedData,
  levelOf,
  refusedInput,
  StaleRead,
  toPublicError,
  violatedConstraint,
} from './transactions/failures.ts'
export type { IdempotencyKey } from './transactions/idempotency.ts'
export { pipeline } from './transactions/pipeline.ts'
export { pruneIdempotencyKeys } from './transactions/prune-idempotency.ts'
export { parseToken } from './transactions/token.ts'
export { transaction } from './transactions/transaction.ts'
