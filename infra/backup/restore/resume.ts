import { primary, type RequestContext, transaction } from '#database'
import { announceProducts } from '#products'

export interface Pause {
  restoredTo: Date
  restoredAt: Date
  versionJump: string
  holdsKeptUntil: Date
  /** The numbers of products, events, jobs and holds that a resume affects. */
  products: number
  events: number
  /** The number of jobs by type. */
  jobs: Array<{ type: string; count: number }>
  holds: number
}

/** Returns what a paused, restored database holds back, or undefined if it is not paused. */
export async function findPause(): Promise<Pause | undefined> {
  const sql = primary()
  const [pause] = await sql<Array<Omit<Pause, 'jobs'>>>`
    select restored_to as "restoredTo", restored_at as "restoredAt", version_jump::text as "versionJump",
           holds_kept_until as "holdsKeptUntil",
           (select count(*)::int from products where deleted_at is null) as products,
           (select count(*)::int from outbox) as events,
           (select count(*)::int from reservations where state = 'held') as holds
    from restores where resumed_at is null order by restored_at desc limit 1`
  if (!pause) return undefined
  const jobs = await sql<Pause['jobs']>`
    select type, count(*)::int as count from jobs where state in ('queued', 'retrying', 'running') group by type order by type`
  return { ...pause, jobs: [...jobs] }
}

/** Describes what a resume does, for the operator who decides on it. */
export function describePause({ restoredTo, restoredAt, products, events, jobs, holds, ...rest }: Pause): string[] {
  const work = jobs.map(({ type, count }) => `${count} ${type}`).join(', ')
  return [
    `Restored at ${restoredAt.toISOString()} to ${restoredTo.toISOString()}. What was done between the two is forgotten here, and known outside.`,
    `${events} events wait and are published; those that had been published come again, under the ids that they had.`,
    `${products} products are then published anew as they are, with versions ${rest.versionJump} higher: readers see that they missed something.`,
    'Consumers go on where Kafka has them, or where this database has them in its own log, which is the restored moment.',
    `${work === '' ? 'No jobs wait' : `Jobs wait: ${work}`}. Those that had run since the moment run again; webhooks get the same webhook-id.`,
    `${holds} holds are there, kept until ${rest.holdsKeptUntil.toISOString()} at least: shops confirm again what they have confirmed since.`,
  ]
}

/** Publishes all products anew, and lets relay, consumers, jobs and schedules continue. Returns the number of products. */
export async function resume(context: RequestContext, onProgress: (done: number) => void): Promise<number> {
  const announced = await announceProducts(context, onProgress)
  await transaction(
    context,
    (tx) => tx`update restores set resumed_at = now(), resumed_by = ${context.actor} where resumed_at is null`,
  )
  return announced
}
