import { whyNotKept } from './numbers.ts'

/** Deeper input is refused: no valid input is that deep, and recursion over it needs a bound. */
const DEPTH_MAX = 32

/**
 * The most elements and members of a text. The largest valid input, attributes of 16 KiB, has 8,192; a stocktake of 1,000 lines has 5,000. Without
 * this bound, 1 MiB of `[[[]],…` costs JSON.parse 100 ms, and each walk over the result costs twice as much again.
 */
export const VALUES_MAX = 10_000

/** A fault of a JSON text, with its place. */
export interface Fault {
  path: string[]
  message: string
}

const code = (character: string) => character.charCodeAt(0)
const [QUOTE, BACKSLASH, COMMA, COLON, MINUS] = [code('"'), code('\\'), code(','), code(':'), code('-')]
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [code('['), code(']'), code('{'), code('}')]
const [ZERO, NINE, SPACE] = [code('0'), code('9'), code(' ')]

/**
 * Finds the first part of a JSON text that costs too much to parse, or that parsing would silently lose, in one pass over its characters, before
 * any value is made. A text that is not JSON is left to JSON.parse.
 */
export function findFault(text: string, valuesMax: number): Fault | undefined {
  let depth = 0
  let values = 0
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = endOfString(text, at)
        if (isSkipped(text, at, end)) return { path: pathAt(text, at), message: 'is not a known member' }
        at = end
        break
      }
      case OPEN_ARRAY:
      case OPEN_OBJECT:
        if (++depth > DEPTH_MAX) return { path: [], message: `is nested more than ${DEPTH_MAX} levels deep` }
        values++
        break
      case CLOSE_ARRAY:
      case CLOSE_OBJECT:
        depth--
        break
      case COMMA:
        values++
        break
      default:
        if (isNumeric(text.charCodeAt(at))) {
          const end = endOfNumber(text, at)
          const message = isSmall(text, at, end) ? undefined : whyNotKept(text.slice(at, end))
          if (message) return { path: pathAt(text, at), message }
          at = end - 1
        }
    }
    if (values > valuesMax) {
      const path = depth > 1 ? pathAt(text, at).slice(0, 1) : []
      return { path, message: `has more than ${valuesMax} elements and members` }
    }
  }
  return undefined
}

/** The index of the closing quote of the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let escapes = at - 1
    while (text.charCodeAt(escapes) === BACKSLASH) escapes--
    if ((at - escapes) % 2 === 1) return at
  }
  return text.length
}

function isNumeric(character: number): boolean {
  return character === MINUS || (character >= ZERO && character <= NINE)
}

const NUMBER = /[\d.eE+-]+/y

function endOfNumber(text: string, start: number): number {
  NUMBER.lastIndex = start
  NUMBER.test(text)
  return NUMBER.lastIndex
}

/** A double keeps every whole number with this many digits. */
const SMALL_DIGITS = 15

/** Whether a number is whole and small, like nearly all numbers, and needs no further check. */
function isSmall(text: string, start: number, end: number): boolean {
  if (end - start > SMALL_DIGITS) return false
  for (let at = start; at < end; at++) {
    const character = text.charCodeAt(at)
    if (character < ZERO || character > NINE) return false
  }
  return true
}

/** Whether the string is the name of a member. */
function isName(text: string, end: number): boolean {
  let at = end + 1
  while (text.charCodeAt(at) <= SPACE) at++
  return text.charCodeAt(at) === COLON
}

/** Schemas silently skip a member of this name, so that they never set a prototype; the client would not learn of the loss. */
const SKIPPED = '__proto__'
/** The name's length if each of its characters is escaped. */
const SKIPPED_LENGTH_MAX = 6 * SKIPPED.length

function isSkipped(text: string, start: number, end: number): boolean {
  const length = end - start - 1
  if (length < SKIPPED.length || length > SKIPPED_LENGTH_MAX) return false
  return nameOf(text, start, end) === SKIPPED && isName(text, end)
}

function nameOf(text: string, start: number, end: number): string {
  const name = text.slice(start + 1, end)
  if (!name.includes('\\')) return name
  try {
    return String(JSON.parse(`"${name}"`))
  } catch {
    // The text is not JSON; JSON.parse reports that.
    return name
  }
}

/** The names and indices that lead to the value at `offset`. */
function pathAt(text: string, offset: number): string[] {
  const path: Array<string | number> = []
  for (let at = 0; at <= offset; at++) {
    const last = path.length - 1
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = endOfString(text, at)
        if (isName(text, end)) path[last] = nameOf(text, at, end)
        at = end
        break
      }
      case OPEN_ARRAY:
        path.push(0)
        break
      case OPEN_OBJECT:
        path.push('')
        break
      case CLOSE_ARRAY:
      case CLOSE_OBJECT:
        path.pop()
        break
      case COMMA:
        if (typeof path[last] === 'number') path[last]++
    }
  }
  return path.map(String)
}
