import { randomUUID } from 'node:crypto'
import type { ConsumeMessage } from 'amqplib'
import * as z from 'zod'
import { batched } from '#async'
import type { Sql } from '#database'
import { type Claim, claimRows, workerTransaction } from '../attempts/claim.ts'

/** A message that names a job. */
export interface Delivery {
  jobId: string
  /** The same at each delivery of the message. The ids of its claims begin with this id. */
  messageId: string
  /** Whether the message may have been delivered before. */
  isRedelivered: boolean
}

/** The body of a message. The rest is in the message's properties. */
export const JobMessage = z.object({ jobId: z.guid().toLowerCase() }).meta({ id: 'JobMessage' })

/** The dispatcher's messages have 60. */
const CONTENT_BYTES_MAX = 10_000

/** Returns the reason if a message names no job. */
export function readDelivery({ content, properties, fields }: ConsumeMessage): Delivery | { reason: string } {
  if (content.length > CONTENT_BYTES_MAX) return { reason: `It has ${content.length} bytes.` }
  let json: unknown
  try {
    json = JSON.parse(content.toString())
  } catch {
    return { reason: 'It is not JSON.' }
  }
  const parsed = JobMessage.safeParse(json)
  if (!parsed.success) return { reason: 'It names no job.' }
  const { messageId } = properties
  return {
    jobId: parsed.data.jobId,
    // An id that the dispatcher did not make may be shared, or very long.
    messageId: z.guid().safeParse(messageId).success ? messageId : randomUUID(),
    isRedelivered: fields.redelivered,
  }
}

/** The most messages whose jobs one statement claims: mostly more than a process has in flight. */
const CLAIMED_MAX = 200

/** How much earlier than the database the broker may find a job due: it measures delays with its own clock. */
const EARLY_MS = 1_000

/**
 * Claims the job that a message names, together with those of other messages that come at the same time. Returns the claim; `unknown` if there is
 * no such job; `none` for a job that is over, not due, or claimed by another worker.
 *
 * It takes over a job that runs under an earlier delivery of the same message: the broker redelivers the messages of a connection that has ended.
 * It does not take over a last attempt, because its worker may be alive: such an attempt is left to its lease.
 */
export const claimDelivery = batched(CLAIMED_MAX, (deliveries: Delivery[]) =>
  workerTransaction(async (tx) => {
    const ids = deliveries.map(({ jobId }) => jobId)
    const messages: ReturnType<Sql> = tx`
      unnest(
        ${ids}::uuid[],
        ${deliveries.map(({ messageId, isRedelivered }) => (isRedelivered ? `${messageId}:` : null))}::text[],
        ${deliveries.map(({ messageId }) => `${messageId}:${randomUUID()}`)}::text[]
      ) as message (job_id, earlier_lease, new_lease)`
    // Skips locked rows, so that no two claims deadlock: the holder of the lock deals with the job.
    const which: ReturnType<Sql> = tx`
      id = job_id and id = any(array(select id from jobs where id = any(${ids}::uuid[]) for update skip locked))
      and (
        state in ('queued', 'retrying') and run_at <= clock_timestamp() + ${EARLY_MS}::int * interval '1 millisecond'
        or state = 'running' and starts_with(lease, earlier_lease) and attempts < attempts_max
      )`
    const claims = new Map((await claimRows(tx, which, tx`new_lease`, messages)).map((claim) => [claim.jobId, claim]))
    const left = ids.filter((id) => !claims.has(id))
    const known =
      left.length === 0 ? [] : await tx<Array<{ id: string }>>`select id from jobs where id = any(${left}::uuid[])`
    const isKnown = new Set([...claims.keys(), ...known.map(({ id }) => id)])
    return deliveries.map(({ jobId, messageId }): Claim | 'none' | 'unknown' => {
      const claim = claims.get(jobId)
      if (claim?.id.startsWith(messageId)) {
        // A copy of the message in the same batch gets 'none'.
        claims.delete(jobId)
        return claim
      }
      return isKnown.has(jobId) ? 'none' : 'unknown'
    })
  }),
)
