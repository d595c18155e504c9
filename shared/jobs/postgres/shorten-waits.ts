import type { Sql } from '#database'
import { LEASE_MS, leaseEnd, workerTransaction } from '../attempts/claim.ts'
import { WAIT_MAX_SECONDS } from '../attempts/end-attempt.ts'
import { andDispatch } from '../dispatches.ts'

/** The most waits that one round shortens: some 20 ms. */
const SHORTENED_MAX = 1_000
/**
 * A statement that runs after this one's now() may begin a later wait. The bounds use now() because it has one value for the whole statement, so
 * that an index can be used; clock_timestamp() would be evaluated for every row.
 */
const SLACK_SECONDS = 60

/**
 * Shortens leases and waits that end later than any that begin now. They were written before a clock was set back, and their jobs would wait for as
 * long as the clock was ahead.
 */
export function shortenWaits(types: readonly string[]): Promise<void> {
  return workerTransaction(async (tx) => {
    const [running, waiting] = await Promise.all([
      tx<Array<{ id: string }>>`
        select id from jobs
        where state = 'running' and locked_until > ${fromNow(tx, LEASE_MS / 1_000 + SLACK_SECONDS)}
        limit ${SHORTENED_MAX} for update skip locked`,
      tx<Array<{ id: string }>>`
        select id from jobs
        where type = any(${types}::text[]) and state in ('queued', 'retrying')
          and run_at > ${fromNow(tx, WAIT_MAX_SECONDS + SLACK_SECONDS)}
        limit ${SHORTENED_MAX} for update skip locked`,
    ])
    const idsOf = (rows: ReadonlyArray<{ id: string }>) => rows.map(({ id }) => id)
    if (running.length > 0) {
      await tx`update jobs set locked_until = ${leaseEnd(tx)} where id = any(${idsOf(running)}::uuid[])`
    }
    if (waiting.length > 0) {
      await tx`
        with due as (
          update jobs set run_at = clock_timestamp() where id = any(${idsOf(waiting)}::uuid[]) returning id
        ) ${andDispatch(tx, tx`select id from due`)}
        select count(*) from due`
    }
  })
}

function fromNow(sql: Sql, seconds: number) {
  return sql`now() + ${seconds}::int * interval '1 second'`
}
