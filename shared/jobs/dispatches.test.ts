import { expect, it } from 'vitest'
import { systemContext, transaction } from '#database'
import { sql } from '#testing'
import { dispatchOverdue } from './dispatches.ts'
import { submit } from './testing/work.ts'

it('jobs of the types asked for are dispatched again that are long due, unless they are about to be', async () => {
  const [overdue, dispatched, other] = [await submit(), await submit(), await submit('export-stock')]
  await sql`update jobs set run_at = now() - interval '2 minutes'`
  await submit()
  await sql`insert into job_dispatches (job_id) values (${dispatched.id})`
  const dispatch = () =>
    transaction(systemContext('function:test'), (tx) => dispatchOverdue(tx, ['verify-ledger'], 60_000, 10))
  expect(await dispatch()).toBe(1)
  expect([...(await sql`select job_id from job_dispatches order by sequence`)]).toEqual([
    { job_id: dispatched.id },
    { job_id: overdue.id },
  ])
  // The job has become due anew.
  await sql`truncate job_dispatches`
  expect(await dispatch()).toBe(1)
  expect(await sql`select 1 from jobs where id = ${other.id} and run_at < now() - interval '1 minute'`).toHaveLength(1)
})
