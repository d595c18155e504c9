type Element = string | number | null | undefined

/**
 * PostgreSQL's literal of a one-dimensional array; `write` writes each element. A batch's statements consist mostly of such literals, one for each
 * column. The driver's own function took several times as long: it quotes every element, and makes a Date of every time. Throws a TypeError for an
 * undefined element.
 */
function toArrayLiteral(values: readonly Element[], write: (element: string | number) => string): string {
  let literal = ''
  let last: Element
  let written = ''
  for (const value of values) {
    // The values of a batch's column are often all the same.
    if (value !== last) {
      last = value
      written = value === null || value === undefined ? 'NULL' : write(value)
    }
    if (value === undefined) throw new TypeError('An element of an array parameter is undefined.')
    literal += `,${written}`
  }
  return `{${literal.slice(1)}}`
}

/** Elements that need no quotes. */
const PLAIN = /^(?!null$)[\w.:+-]+$/i

/** Writes an element that may have any character. */
function quote(element: string | number): string {
  const text = String(element)
  return PLAIN.test(text) ? text : `"${text.replaceAll(/["\\]/g, '\\$&')}"`
}

const ELEMENTS = /"((?:[^"\\]|\\.)*)"|[^{},]+/gs

/** The elements of a one-dimensional array literal; `parse` reads each one. */
function fromArrayLiteral<Value>(literal: string, parse: (element: string) => Value): Array<Value | null> {
  return [...literal.matchAll(ELEMENTS)].map(([element, quoted]) => {
    if (quoted !== undefined) return parse(quoted.replaceAll(/\\(.)/gs, '$1'))
    return element === 'NULL' ? null : parse(element)
  })
}

/** Writes an element of a type without special characters. An element with a comma is quoted, so that the server refuses it as one element. */
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
 * The array types in use, for the driver's `types`, with their oids (pg_type.dat in PostgreSQL's source). Without them, the driver would query the
 * server's types on every new connection.
 */
export const arrayTypes = {
  texts: arrayType(1009, String, quote),
  integers: arrayType(1007, Number),
  bigints: arrayType(1016, Number),
  timestamps: arrayType(1185, (time) => new Date(time)),
  uuids: arrayType(2951, String),
}
