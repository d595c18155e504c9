/**
 * A token whose order as a string is the order of log positions: the timeline comes first, and every number has its full width. It is still a valid
 * token. A later timeline counts as later, because all reads go to the promoted server from then on.
 */
export function comparable(token: string): string {
  const [timeline = '', high = '', low = ''] = token.split(/[-/]/)
  return `${timeline.padStart(8, '0')}-${high.padStart(8, '0')}/${low.padStart(8, '0')}`
}

/** The later of two tokens. */
export function later(one: string | undefined, other: string | undefined): string | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return comparable(one) >= comparable(other) ? one : other
}

/** Whether `here` has everything that the log had at `there`. False between timelines, because it is unknown then. */
export function reaches(here: string | undefined, there: string): boolean {
  if (here === undefined) return false
  const [a, b] = [comparable(here), comparable(there)]
  return a.slice(0, 8) === b.slice(0, 8) && a >= b
}

/** Whether `here` is beyond `there`, on the same timeline. */
export function isPast(here: string | undefined, there: string): boolean {
  return reaches(here, there) && here !== undefined && comparable(here) !== comparable(there)
}

/** Whether a promotion has ended the timeline of `there` before `here`. */
export function isOnLaterTimeline(here: string, there: string): boolean {
  return comparable(here).slice(0, 8) > comparable(there).slice(0, 8)
}
