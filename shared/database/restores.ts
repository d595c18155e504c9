import type { Sql } from './connections/connect.ts'
import { isServerTimeout } from './connections/driver/server-timeout.ts'
import { askPrimary } from './connections/servers/ask-primary.ts'

/** A restore takes longer than this, and the server is away meanwhile: no answer from before it is believed after it. */
const BELIEVED_MS = 1_000
let last: { answer: Promise<boolean>; at: number } | undefined

/**
 * Whether this database was restored to its past and waits for an operator to say that relay, consumers, jobs and schedules may go on. At most
 * a second old. Throws while the database is away. One that is silent is taken to wait: the answer may be on its way.
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

/** The condition that the database waits, for a statement that must not do its work meanwhile. */
export function unresumed(sql: Sql) {
  return sql`exists (select from restores where resumed_at is null)`
}
