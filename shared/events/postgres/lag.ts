import { askPrimary } from '#database'
import { COUNT_MAX } from '#telemetry'
import type { Lag } from '../delivery/progress.ts'

/** How far a group is behind the end of the log. A group that has never read is behind all of it. */
export async function logLag(group: string, topic: string): Promise<Lag> {
  const [row] = await askPrimary((sql) => {
    const next = sql`
      from event_log where topic = ${topic}
        and position > coalesce((select position from event_groups where name = ${group} and topic = ${topic}), 0)
      order by position`
    return sql<[Lag]>`
      select (select count(*) from (select ${next} limit ${COUNT_MAX}) as waiting) as events,
             coalesce((select extract(epoch from clock_timestamp() - occurred_at) ${next} limit 1), 0)::float8 as seconds`
  })
  return row
}
