/** The target of a restore: the end of the archive, a moment, or the end of a backup. */
export type RestoreTarget = { kind: 'latest' } | { kind: 'time'; at: Date } | { kind: 'name'; name: string }

const NAME = /^[\w-]*\d{8}-\d{6}[\w-]*$/

/** Parses a target. Throws if it is invalid. A time without a time zone is refused: it would mean another moment elsewhere. */
export function parseTarget(text: unknown): RestoreTarget {
  if (text === 'latest') return { kind: 'latest' }
  if (typeof text === 'string' && NAME.test(text)) return { kind: 'name', name: text }
  const isTime =
    typeof text === 'string' && /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)$/.test(text)
  const at = new Date(isTime ? text.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00') : Number.NaN)
  if (Number.isNaN(at.getTime())) {
    throw new Error('Say to what: --to latest, --to 2026-11-29T12:00:00Z, or --to the name of a backup.')
  }
  return { kind: 'time', at }
}
