type Element = string | number | null | undefined

/** What can't be taken for anything but itself within an array: numbers, ids, times, codes. */
const PLAIN = /^(?!null$)[\w.:+-]+$/i

/**
 * PostgreSQL's literal for an array of one dimension. A batch's statements are mostly such literals, one for each column:
 * the driver's own, which quotes every element and makes a Date of every time, took three times as long.
 * Throws a TypeError for an undefined element.
 */
export function toArrayLiteral(values: readonly Element[]): string {
  return `{${values.map(toElement).join()}}`
}

function toElement(value: Element): string {
  if (value === null) return 'NULL'
  if (value === undefined) throw new TypeError('An element of an array parameter is undefined.')
  const text = String(value)
  return PLAIN.test(text) ? text : `"${text.replaceAll(/["\\]/g, '\\$&')}"`
}

const ELEMENTS = /"((?:[^"\\]|\\.)*)"|[^{},]+/gs

/** What is in an array literal of one dimension, each element by `parse`. */
export function fromArrayLiteral<Value>(literal: string, parse: (element: string) => Value): Array<Value | null> {
  return [...literal.matchAll(ELEMENTS)].map(([element, quoted]) => {
    if (quoted !== undefined) return parse(quoted.replaceAll(/\\(.)/gs, '$1'))
    return element === 'NULL' ? null : parse(element)
  })
}

function arrayType(oid: number, parse: (element: string) => unknown) {
  const fromLiteral = (literal: string) => fromArrayLiteral(literal, parse)
  return { to: oid, from: [oid], serialize: toArrayLiteral, parse: fromLiteral }
}

/**
 * The array types in use, for the driver's `types`, by their oids (pg_type.dat in PostgreSQL's source). With these it need
 * not ask the server for its types on every new connection.
 */
export const arrayTypes = {
  texts: arrayType(1009, String),
  integers: arrayType(1007, Number),
  bigints: arrayType(1016, Number),
  timestamps: arrayType(1185, (time) => new Date(time)),
  uuids: arrayType(2951, String),
}
