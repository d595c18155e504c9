import * as z from 'zod'
import { type Page, type PageRequest, type RequestContext, read, readPage, transaction } from '#database'
import { logger } from '#telemetry'
import { andDispatch } from './dispatches.ts'
import type { DeadLetter, RedriveRequest } from './schema.ts'

/** The most letters that one request redrives: a transaction of some hundred milliseconds. */
const REDRIVEN_MAX = 10_000

interface DeadLetterRow extends Omit<DeadLetter, 'diedAt'> {
  diedAt: Date
}

/** Dead jobs that have not been redriven, newest first. */
export function listDeadLetters(page: PageRequest, context: RequestContext): Promise<Page<DeadLetter>> {
  return readPage(page, context, {
    kind: 'dead-letters',
    keys: z.tuple([z.guid()]),
    fetch: (after, limit) =>
      read(
        context,
        (sql) => sql<DeadLetterRow[]>`
          select letter.id, job_id as "jobId", job.type, job.payload, letter.error, letter.attempts, died_at as "diedAt"
          from dead_letters as letter join jobs as job on job.id = letter.job_id
          where redriven_at is null and ${after ? sql`letter.id < ${after[0]}` : sql`true`}
          order by letter.id desc limit ${limit}`,
      ),
    keysOf: (row): [string] => [row.id],
    toItem: ({ diedAt, ...row }) => ({ ...row, diedAt: diedAt.toISOString() }),
  })
}

/**
 * Queues dead jobs again, under their ids, with all of their attempts: those of these dead letters, or else of the oldest 10,000. Skips unknown
 * letters, and letters that were already redriven. Returns the number of redriven jobs.
 */
export async function redriveDeadLetters(
  { ids }: z.infer<typeof RedriveRequest>,
  context: RequestContext,
): Promise<number> {
  const redriven = await transaction(context, async (tx) => {
    const letters = await tx<Array<{ id: string; jobId: string }>>`
      select id, job_id as "jobId" from dead_letters
      where redriven_at is null and ${ids ? tx`id = any(${ids}::uuid[])` : tx`true`}
      order by id limit ${REDRIVEN_MAX} for update`
    await Promise.all([
      tx`
        update dead_letters set redriven_at = now(), redriven_by = ${context.actor}
        where id = any(${letters.map(({ id }) => id)}::uuid[])`,
      tx`
        with queued as (
          update jobs set state = 'queued', attempts = 0, run_at = now(), updated_at = now()
          where id = any(${letters.map(({ jobId }) => jobId)}::uuid[]) returning id
        ) ${andDispatch(tx, tx`select id from queued`)}
        select count(*) from queued`,
    ])
    return letters.length
  })
  logger().info({ actor: context.actor, redriven }, 'dead jobs redriven')
  return redriven
}
