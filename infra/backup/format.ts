const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** Formats a size, such as 57.7 MB. */
export function size(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3))
  return `${(bytes / 1_000 ** power).toFixed(power === 0 ? 0 : 1)} ${UNITS[power]}`
}

/** Formats a duration, such as 6.2 s. */
export const duration = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
