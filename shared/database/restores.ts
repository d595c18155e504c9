import type { Sql } from './connections/connect.ts'
import { isServerTimeout } from './connections/driver/server-timeout.ts'
import { askPrimary } from './connections/servers/ask-primary.ts'

/**
 * How long an answer is reused. A restore takes longer than this, and the server is away meanwhile, so no answer from before a restore is used
 * after it.
 */
const BELIEVED_MS = 1_000
let last: { answer: Promise<boolean>; at: number } | undefined

/**
 * Whether this database was restored to its past and waits until an operator lets relay, consumers, jobs and schedules go on. The answer is at most
 * a second old. Throws while the database is away. A silent database counts as one that waits: its answer may be on its way.
 */
export function isPaused(): Promise<boolean> {
  const now = performance.now()
  if (last === undefined || now - last.at > BELIEVED_MS) {
    const answer = ask()
    last = { answer, at: now }
    answer.catch(() => {
      last = undefined
    })
  }
  return last.answer
}

async function ask(): Promise<boolean> {
  try {
    const [row] = await askPrimary((sql) => sql<[{ paused: boolean }]>`select ${unresumed(sql)} as paused`)
    return row.paused
  } catch (error) {
    if (!isServerTimeout(error)) throw error
    return true
  }
}

/** An SQL condition that is true while the database waits, for a statement that must not do its work meanwhile. */
export function unresumed(sql: Sql) {
  return sql`exists (select from restores where resumed_at is null)`
}
