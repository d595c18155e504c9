import * as z from 'zod'

/** A whole number in decimal digits, as a query or an environment variable has it: not `0x10`, `5e1` or ` 5 `. */
export function decimalInteger(bounds: { min: number; max: number }) {
  const message = `must be a whole number from ${bounds.min} to ${bounds.max}`
  const number = z.number(message).int(message).min(bounds.min, message).max(bounds.max, message)
  return z.preprocess((text) => (typeof text === 'string' && /^-?\d+$/.test(text) ? Number(text) : text), number)
}

/** A double has so many significant digits at most. */
const DIGITS_MAX = 17
/** Those, far behind the point; what is longer is refused before it is looked into. */
const LITERAL_MAX = 64

/**
 * Why a number in a JSON text would not be kept as it is written; undefined for one that is. An integer must be exact, since it may
 * be an id. A fraction becomes the double next to it, as with everybody who reads JSON, where that takes nothing from it that a
 * double can hold: https://www.rfc-editor.org/rfc/rfc8259#section-6
 */
export function whyNotKept(literal: string): string | undefined {
  const value = Number(literal)
  if (Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    return 'is a number beyond 2^53 - 1, which would not be kept exactly; send it as a string'
  }
  if (literal.length > LITERAL_MAX) return TOO_LONG
  const [, whole = '', fraction = '', exponent = '0'] = /^-?(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?$/.exec(literal) ?? []
  const significant = `${whole}${fraction}`.replace(/0+$/, '')
  const decimals = fraction.length - (whole.length + fraction.length - significant.length) - Number(exponent)
  const isRounded = Number.isInteger(value) && significant !== '' && decimals > 0
  if (!isRounded && significant.replace(/^0+/, '').length <= DIGITS_MAX) return undefined
  return TOO_LONG
}

const TOO_LONG = `is a number with more than ${DIGITS_MAX} digits, which would not be kept exactly; send it as a string`
