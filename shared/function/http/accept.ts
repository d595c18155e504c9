/** The type of `offered` that an `Accept` header names with the highest weight, the first among equals; undefined if it names none. */
export function namedType(header: string | null, offered: readonly string[]): string | undefined {
  const ranges = (header ?? '').slice(0, HEADER_MAX).split(',').map(parseRange)
  const [best] = ranges.filter(({ type, q }) => q > 0 && offered.includes(type)).sort((a, b) => b.q - a.q)
  return best?.type
}

/** A real client's header has a few hundred characters. */
const HEADER_MAX = 4_096

/** `text/csv;q=0.5`: https://www.rfc-editor.org/rfc/rfc9110#name-accept */
function parseRange(range: string): { type: string; q: number } {
  const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
  const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
  return { type, q: weight === undefined ? 1 : Number(weight) || 0 }
}
