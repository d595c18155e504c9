import * as z from 'zod'

// Clients get these patterns, so they use only what the regular expressions of every language understand: no \p{…}, flags or look-ahead.
const CONTROLS = String.raw`\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f`
const LINE = new RegExp(`^[^${CONTROLS}\\t\\n\\r]*$`)
const LINES = new RegExp(`^[^${CONTROLS}]*$`)

/** One line of text for people, with at most this many characters. PostgreSQL can store all of them. */
export function lineOfText(charactersMax: number) {
  return textOf(charactersMax).regex(LINE, 'must not contain control characters')
}

/** The same, but with tabs and line breaks. */
export function linesOfText(charactersMax: number) {
  return textOf(charactersMax).regex(LINES, 'must not contain control characters but tabs and line breaks')
}

function textOf(charactersMax: number) {
  return z
    .string()
    .refine((text) => hasAtMost(text, charactersMax), `must not have more than ${charactersMax} characters`)
    .refine((text) => !LONE_SURROGATE.test(text), 'must not contain lone surrogates')
    .meta({ maxLength: charactersMax })
}

/** A lone surrogate, which UTF-8 can't encode. */
const LONE_SURROGATE = /\p{Cs}/u

/** Counts code points, as JSON Schema does; a string has one or two units for each code point. */
function hasAtMost(text: string, charactersMax: number): boolean {
  return text.length <= charactersMax || (text.length <= 2 * charactersMax && [...text].length <= charactersMax)
}
