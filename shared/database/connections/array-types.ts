type Element = string | number | null | undefined

/**
 * PostgreSQL's literal for an array of one dimension, each element by `write`. A batch's statements are mostly such literals,
 * one for each column: the driver's own, which quotes every element and makes a Date of every time, took several times as
 * long. Throws a TypeError for an undefined element.
 */
function toArrayLiteral(values: readonly Element[], write: (element: string | number) => string): string {
  let literal = ''
  let last: Element
  let written = ''
  for (const value of values) {
    // Of a batch, whole columns are often the same.
    if (value !== last) {
      last = value
      written = value === null || value === undefined ? 'NULL' : write(value)
    }
    if (value === undefined) throw new TypeError('An element of an array parameter is undefined.')
    literal += `,${written}`
  }
  return `{${literal.slice(1)}}`
}

/** What can't be taken for anything but itself within an array. */
const PLAIN = /^(?!null$)[\w.:+-]+$/i

/** An element that may have any character. */
function quote(element: string | number): string {
  const text = String(element)
  return PLAIN.test(text) ? text : `"${text.replaceAll(/["\\]/g, '\\$&')}"`
}

const ELEMENTS = /"((?:[^"\\]|\\.)*)"|[^{},]+/gs

/** What is in an array literal of one dimension, each element by `parse`. */
function fromArrayLiteral<Value>(literal: string, parse: (element: string) => Value): Array<Value | null> {
  return [...literal.matchAll(ELEMENTS)].map(([element, quoted]) => {
    if (quoted !== undefined) return parse(quoted.replaceAll(/\\(.)/gs, '$1'))
    return element === 'NULL' ? null : parse(element)
  })
}

/** An element of a type that has no text with a character in question: the server refuses it, as long as it stays one. */
function keepWhole(element: string | number): string {
  const text = String(element)
  return text.includes(',') ? quote(text) : text
}

function arrayType(oid: number, parse: (element: string) => unknown, write = keepWhole) {
  return {
    to: oid,
    from: [oid],
    serialize: (values: Element[]) => toArrayLiteral(values, write),
    parse: (literal: string) => fromArrayLiteral(literal, parse),
  }
}

/**
 * The array types in use, for the driver's `types`, by their oids (pg_type.dat in PostgreSQL's source). With these it need
 * not ask the server for its types on every new connection.
 */
export const arrayTypes = {
  texts: arrayType(1009, String, quote),
  integers: arrayType(1007, Number),
  bigints: arrayType(1016, Number),
  timestamps: arrayType(1185, (time) => new Date(time)),
  uuids: arrayType(2951, String),
}
