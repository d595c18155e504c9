import { addressOf } from '../connect.ts'
import { createClient } from '../driver/driver.ts'
import { withServerTimeout } from '../driver/server-timeout.ts'
import { parseServerUrl } from './server-url.ts'

/** A server that takes longer to answer would be of no use as a primary. */
const ANSWER_MAX_MS = 1_000

export interface FoundPrimary {
  url: string
  timeline: number
}

/**
 * The server that takes writes; undefined if there is none now. It asks all servers at once. Two primaries, for example after the return of one
 * that was replaced, differ in their timelines: the one with the latest timeline was promoted last. A primary below `timelineMin` was replaced, and
 * writes to it would be lost.
 */
export async function findPrimary(urls: readonly string[], timelineMin: number): Promise<FoundPrimary | undefined> {
  const answers = await Promise.all(urls.map(async (url) => ({ url, timeline: await timelineOfPrimary(url) })))
  const [latest] = answers
    .flatMap(({ url, timeline }) => (timeline !== undefined && timeline >= timelineMin ? [{ url, timeline }] : []))
    .sort((a, b) => b.timeline - a.timeline)
  return latest
}

/** The timeline that a server writes; undefined for a standby, and for a server that does not answer. */
async function timelineOfPrimary(url: string): Promise<number | undefined> {
  const sql = createClient({
    ...addressOf(parseServerUrl(url)),
    ofSingles: true,
    connect_timeout: 1,
    onnotice: () => {},
    fetch_types: false,
  })
  try {
    const [row] = await withServerTimeout(
      ANSWER_MAX_MS,
      () => sql<[{ timeline: number | null }]>`
        select case when not pg_is_in_recovery() then ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end
          as timeline`,
    )
    return row.timeline ?? undefined
  } catch {
    // A server that fails is not the primary.
    return undefined
  } finally {
    void sql.end({ timeout: 0 })
  }
}
