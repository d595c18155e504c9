import { whyNotKept } from './numbers.ts'

/** Deeper input is refused: nothing here is that deep, and recursion over it must end. */
const DEPTH_MAX = 32

/**
 * Elements and members of a text. The largest that is taken, attributes of 16 KiB, has 8,192; a stocktake of 1,000 lines has 5,000.
 * Without it, 1 MiB of `[[[]],…` costs JSON.parse 100 ms, and each walk over what it gives twice as much again.
 */
const VALUES_MAX = 10_000

/** What is wrong with a JSON text, and where. */
export interface Fault {
  path: string[]
  message: string
}

const code = (character: string) => character.charCodeAt(0)
const [QUOTE, BACKSLASH, COMMA, COLON, MINUS] = [code('"'), code('\\'), code(','), code(':'), code('-')]
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [code('['), code(']'), code('{'), code('}')]
const [ZERO, NINE, SPACE] = [code('0'), code('9'), code(' ')]

/**
 * The first thing in a JSON text that costs too much to read, or that would be lost without a word: judged by its characters, once
 * from the left to the right, before a value is made of any of it. Says nothing of a text that is no JSON; JSON.parse does.
 */
export function findFault(text: string): Fault | undefined {
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
    if (values > VALUES_MAX) {
      const path = depth > 1 ? pathAt(text, at).slice(0, 1) : []
      return { path, message: `has more than ${VALUES_MAX} elements and members` }
    }
  }
  return undefined
}

/** Where the string that begins at `start` ends: its closing quote. */
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

/** A double keeps every whole number of so many digits. */
const SMALL_DIGITS = 15

/** Whether a number is whole and small, as nearly all are: it needs no closer look. */
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

/** Schemas skip a member of this name without a word, so that nobody's prototype is set by accident: it would be lost. */
const SKIPPED = '__proto__'
/** With each of its characters written as an escape. */
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
    // It is no JSON, which is told later.
    return name
  }
}

/** Names and indices on the way to what is at `offset`. */
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
