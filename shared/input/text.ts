import * as z from 'zod'

// Clients get these: written with what the regular expressions of every language understand, so without \p{…}, flags and look-ahead.
const CONTROLS = String.raw`\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f`
const LINE = new RegExp(`^[^${CONTROLS}\\t\\n\\r]*$`)
const LINES = new RegExp(`^[^${CONTROLS}]*$`)

/** Text in one line that a person may read later, of so many characters at most: nothing in it that PostgreSQL can't store. */
export function lineOfText(charactersMax: number) {
  return textOf(charactersMax).regex(LINE, 'must not contain control characters')
}

/** The same with tabs and line breaks. */
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

/** Half of a character outside of the basic plane: no UTF-8 has it. */
const LONE_SURROGATE = /\p{Cs}/u

/** Characters are code points, as JSON Schema counts them, of which a string has one or two places each. */
function hasAtMost(text: string, charactersMax: number): boolean {
  return text.length <= charactersMax || (text.length <= 2 * charactersMax && [...text].length <= charactersMax)
}
