/**
 * A token whose order as a string is the order of log positions: every number at its full width, the timeline first. It is a token
 * still. A later timeline counts as later: what was promoted is what everybody reads from then on.
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

/** Whether what covers `here` covers `there` too. Of another timeline, nobody can tell. */
export function reaches(here: string | undefined, there: string): boolean {
  if (here === undefined) return false
  const [a, b] = [comparable(here), comparable(there)]
  return a.slice(0, 8) === b.slice(0, 8) && a >= b
}

/** Whether `here` is beyond `there`, on the same timeline. */
export function isPast(here: string | undefined, there: string): boolean {
  return reaches(here, there) && here !== undefined && comparable(here) !== comparable(there)
}

/** Whether `here` is from after the promotion that ended the timeline of `there`. */
export function isOnLaterTimeline(here: string, there: string): boolean {
  return comparable(here).slice(0, 8) > comparable(there).slice(0, 8)
}
