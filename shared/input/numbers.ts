import * as z from 'zod'

/** A whole number in decimal digits, in a query or an environment variable: not `0x10`, `5e1` or ` 5 `. */
export function decimalInteger(bounds: { min: number; max: number }) {
  const message = `must be a whole number from ${bounds.min} to ${bounds.max}`
  const number = z.number(message).int(message).min(bounds.min, message).max(bounds.max, message)
  return z.preprocess((text) => (typeof text === 'string' && /^-?\d+$/.test(text) ? Number(text) : text), number)
}

/** The most significant digits that a double can have. */
const DIGITS_MAX = 17
/** The longest text of a number with as many digits, even far behind the point. Longer numbers are refused without parsing. */
const LITERAL_MAX = 64

/**
 * Why a number in a JSON text would change by parsing; undefined if it stays the same. A number so large that a double can't count in ones must
 * come back the same, since it may be an id. A fraction becomes the nearest double, as in every reader of JSON, if that takes nothing from it that
 * a double can hold: https://www.rfc-editor.org/rfc/rfc8259#section-6
 */
export function whyNotKept(literal: string): string | undefined {
  if (literal.length > LITERAL_MAX) return TOO_LONG
  const value = Number(literal)
  const written = decimalOf(literal)
  if (Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    const { digits, exponent } = decimalOf(String(value))
    return digits === written.digits && exponent === written.exponent ? undefined : BEYOND
  }
  const isRounded = Number.isInteger(value) && written.digits !== '' && written.exponent < 0
  return isRounded || written.digits.length > DIGITS_MAX ? TOO_LONG : undefined
}

/** A number's significant digits, and the power of ten of the last of them. */
function decimalOf(literal: string): { digits: string; exponent: number } {
  const [, whole = '', fraction = '', exponent = '0'] = /^-?(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?$/.exec(literal) ?? []
  const all = `${whole}${fraction}`.replace(/^0+/, '')
  const digits = all.replace(/0+$/, '')
  return { digits, exponent: Number(exponent) - fraction.length + all.length - digits.length }
}

const TOO_LONG = `is a number with more than ${DIGITS_MAX} digits, which would not be kept exactly; send it as a string`
const BEYOND = 'is a number beyond 2^53 - 1, which would not be kept exactly; send it as a string'
