import type { Sql } from '#database'
import { andDispatch } from '../dispatches.ts'
import { LEASE_MS, leaseEnd, WAIT_MAX_SECONDS, writing } from './queue.ts'

/** Waits that one look shortens: some 20 ms. */
const SHORTENED_MAX = 1_000
/**
 * What begins now may be begun by a statement somewhat later than this one. The bounds are of now(), which is one value for the whole
 * statement, so that an index finds what is past them; of clock_timestamp() every row would have to be compared with its own.
 */
const SLACK_SECONDS = 60

/**
 * Lets no lease and no wait last longer from now than one that begins now: those that do were written by a clock that has been set back
 * since, and the jobs would stand still for as long as it was ahead.
 */
export function shortenWaits(types: readonly string[]): Promise<void> {
  return writing(async (tx) => {
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
