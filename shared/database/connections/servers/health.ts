import { withTimeout } from '#async'
import { failureReason } from '../../transactions/failures.ts'
import type { Sql } from '../connect.ts'
import { primary, primaryKnown, replicaReaders, suspectPrimary } from '../connections.ts'

const ANSWER_MAX_MS = 2_000

/** The failures of the database, by server. Empty while the primary answers, since reads go to the primary if there is no replica. */
export async function checkDatabase(): Promise<Record<string, string>> {
  await primaryKnown()
  const primaryFailure = await failureOf(primary())
  if (primaryFailure === undefined) return {}
  suspectPrimary()
  const replicaFailure = await failureOf(replicaReaders()?.rows)
  return { primary: primaryFailure, ...(replicaFailure && { replica: replicaFailure }) }
}

async function failureOf(sql: Sql | undefined): Promise<string | undefined> {
  if (!sql) return undefined
  const asked = sql`select 1`.then(() => undefined, failureReason)
  return withTimeout(ANSWER_MAX_MS, asked).catch(() => `has not answered within ${ANSWER_MAX_MS} ms`)
}
