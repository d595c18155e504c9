import { cutText, invalid } from '#errors'

/**
 * A cell's whole number: digits, optionally with spaces around them or zeros after a dot, as spreadsheets write it. The number is checked as text,
 * since a JavaScript number does not keep all digits: 9007199254740990.5 would become whole. Throws `validation_failed` under `path`.
 */
export function wholeNumberOf(cell: string, path: string): number {
  const digits = /^(-?\d+)(?:\.0+)?$/.exec(cell.trim())?.[1]
  const number = Number(digits)
  if (digits === undefined) throw invalid(path, `must be a whole number, not ${quoted(cell)}`)
  if (!Number.isSafeInteger(number)) throw invalid(path, `must not have so many digits: ${quoted(cell)}`)
  return number
}

/** As a JSON text, so that a message can show any value. */
export const quoted = (text: string) => JSON.stringify(cutText(text, 100))
