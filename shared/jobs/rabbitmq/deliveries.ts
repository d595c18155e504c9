import { randomUUID } from 'node:crypto'
import type { ConsumeMessage } from 'amqplib'
import * as z from 'zod'
import { batched } from '#async'
import type { Sql } from '#database'
import { type Claim, claimRows, writing } from '../postgres/queue.ts'

/** A message that tells of a job. */
export interface Delivery {
  jobId: string
  /** Of the message, however often it is delivered; the ids of its claims begin with it. */
  messageId: string
  /** Whether it may have been delivered before. */
  isAgain: boolean
}

/** What is sent in a message, apart from what its properties say. */
export const JobMessage = z.object({ jobId: z.guid().toLowerCase() }).meta({ id: 'JobMessage' })

/** Ours have 60. */
const CONTENT_BYTES_MAX = 10_000

/** Gives the reason where a message tells of no job. */
export function readDelivery({ content, properties, fields }: ConsumeMessage): Delivery | { reason: string } {
  if (content.length > CONTENT_BYTES_MAX) return { reason: `It has ${content.length} bytes.` }
  let json: unknown
  try {
    json = JSON.parse(content.toString())
  } catch {
    return { reason: 'It is no JSON.' }
  }
  const parsed = JobMessage.safeParse(json)
  if (!parsed.success) return { reason: 'It names no job.' }
  const { messageId } = properties
  return {
    jobId: parsed.data.jobId,
    // An id that is not one of ours is as good as none: it might be anybody's, or very long.
    messageId: z.guid().safeParse(messageId).success ? messageId : randomUUID(),
    isAgain: fields.redelivered,
  }
}

/** Messages whose jobs one statement claims: more than a process has in hand, mostly. */
const CLAIMED_MAX = 200

/** How much earlier than in the database a job may be due in the broker, which measures delays with a clock of its own. */
const EARLY_MS = 1_000

/**
 * Takes the job that a message tells of, with those of other messages that come at the same time. Gives the claim; or `unknown`
 * where there is no such job; or `none` for one that is over, not due, or in other hands.
 *
 * A job that runs under an earlier delivery of the same message is taken over: the broker delivers again what a worker left behind
 * when its connection ended. Not with its last attempt, though, for that worker may be alive; its lease will tell.
 */
export const claimDelivery = batched(CLAIMED_MAX, (deliveries: Delivery[]) =>
  writing(async (tx) => {
    const ids = deliveries.map(({ jobId }) => jobId)
    const told: ReturnType<Sql> = tx`
      unnest(
        ${ids}::uuid[],
        ${deliveries.map(({ messageId, isAgain }) => (isAgain ? `${messageId}:` : null))}::text[],
        ${deliveries.map(({ messageId }) => `${messageId}:${randomUUID()}`)}::text[]
      ) as told (job_id, earlier_lease, new_lease)`
    // A row that another holds is passed over, so that no two wait for each other: whoever holds it sees to the job.
    const which: ReturnType<Sql> = tx`
      id = job_id and id = any(array(select id from jobs where id = any(${ids}::uuid[]) for update skip locked))
      and (
        state in ('queued', 'retrying') and run_at <= clock_timestamp() + ${EARLY_MS}::int * interval '1 millisecond'
        or state = 'running' and starts_with(lease, earlier_lease) and attempts < attempts_max
      )`
    const claims = new Map((await claimRows(tx, which, tx`new_lease`, told)).map((claim) => [claim.jobId, claim]))
    const left = ids.filter((id) => !claims.has(id))
    const known =
      left.length === 0 ? [] : await tx<Array<{ id: string }>>`select id from jobs where id = any(${left}::uuid[])`
    const isKnown = new Set([...claims.keys(), ...known.map(({ id }) => id)])
    return deliveries.map(({ jobId, messageId }): Claim | 'none' | 'unknown' => {
      const claim = claims.get(jobId)
      if (claim?.id.startsWith(messageId)) {
        // Of two copies of a message, one is enough.
        claims.delete(jobId)
        return claim
      }
      return isKnown.has(jobId) ? 'none' : 'unknown'
    })
  }),
)
