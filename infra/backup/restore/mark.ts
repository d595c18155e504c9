import { say } from '../../local/commands/operator-command.ts'
import { withConnection } from '../../local/postgres/sql.ts'

/** More events than a product can have in a second: each change of a product raises its version, one after the other. */
export const EVENTS_A_SECOND_MAX = 10_000
/** In this time, shops learn of the restore and repeat their lost confirmations. */
export const HOLDS_KEPT_HOURS = 24

export interface Mark {
  restoredTo: Date
  versionJump: number
  holdsKept: number
}

/**
 * Prepares a restored database for clients that have seen the changes it has lost, before anybody else uses it: docs/decisions/0026. The
 * database is paused, versions continue after all that the lost time can have used, and holds that were valid at that moment are kept.
 * `noEarlierThan` is the end of the backup, for a WAL without a commit. Throws if the backup is older than this kind of mark.
 */
export function markRestored(superuserUrl: string, noEarlierThan: Date): Promise<Mark> {
  return withConnection(superuserUrl, (sql) =>
    sql.begin(async (tx) => {
      const [known] = await tx<[{ isKnown: boolean }]>`select to_regclass('restores') is not null as "isKnown"`
      if (!known.isKnown) throw new Error(TOO_OLD)
      const [mark] = await tx<[{ restoredTo: Date; versionJump: string; seconds: number; keptUntil: Date }]>`
        with moment as (
          select greatest(coalesce(pg_last_xact_replay_timestamp(), ${noEarlierThan}), ${noEarlierThan}) as restored_to
        )
        insert into restores (restored_to, version_jump, holds_kept_until)
        select restored_to, ceil(greatest(1, extract(epoch from now() - restored_to)))::bigint * ${EVENTS_A_SECOND_MAX}::int,
               now() + ${HOLDS_KEPT_HOURS}::int * interval '1 hour'
        from moment
        returning restored_to as "restoredTo", version_jump as "versionJump",
                  (version_jump / ${EVENTS_A_SECOND_MAX}::int)::int as seconds, holds_kept_until as "keptUntil"`
      const { restoredTo, versionJump, seconds, keptUntil } = mark
      await tx`update stock_levels set version = version + ${versionJump}::bigint where location = 'main'`
      // A product is edited less often than once a second.
      await tx`update products set version = version + ${seconds}::int`
      const { count } = await tx`
        update reservations set expires_at = greatest(expires_at, ${keptUntil})
        where state = 'held' and expires_at > ${restoredTo}`
      await tx`
        update reservation_lines set held_until = greatest(held_until, ${keptUntil}) where held_until > ${restoredTo}`
      return { restoredTo, versionJump: Number(versionJump), holdsKept: count }
    }),
  )
}

const TOO_OLD =
  'The backup is from before a restored database could be marked: it is restored, and relay, consumers and jobs run as soon as they are started.'

/** Prints the result of a restore, and the next steps. */
export function sayMark({ restoredTo, versionJump, holdsKept }: Mark): void {
  say(
    `Restored to ${restoredTo.toISOString()}. Versions of products go on ${versionJump} higher; ${holdsKept} holds are kept for ${HOLDS_KEPT_HOURS} hours.`,
  )
  say(
    'Start it: requests are served. Events, jobs and schedules wait for npm run backup -- resume, which says what it will do.',
  )
}
